package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/redact"
)

const planted = "CANARY-51c0"

// fake is a proxy that has a secret in every place where one can be.
type fake struct {
	notReady error
	reloads  int
	reload   ReloadResult
	failed   error
	asked    Question
}

func (f *fake) views() Views {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return Views{
		Ready:  func() error { return f.notReady },
		Policy: func() *redact.Policy { return redact.New([]string{"X-Api-Key"}, []string{"token"}) },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("weir_requests_total 1\n"))
		}),
		Snapshot: func() any {
			return map[string]any{
				"number":  7,
				"routes":  []any{map[string]any{"match": config.Match{Headers: []config.ValueMatch{{Name: "x-api-key", Exact: pointer(planted)}}, Cookies: []config.ValueMatch{{Name: "session", Exact: pointer(planted)}}}}},
				"filters": map[string]any{"headers": map[string]any{"set": map[string]string{"Authorization": "Bearer " + planted}}},
				"health":  "/health?token=" + planted,
			}
		},
		Routes: func() []Route {
			return []Route{{
				Name: "payments", Listeners: []string{"public"}, Match: "pay.example.com /v1/*?token=" + planted, Action: "payments-v1 (95), payments-v2 (5)",
				Filters: []string{"headers"}, Priority: 3, Timeout: Duration(15 * time.Second), Pos: "weir.yaml:8:3", Held: "line\nbreak \x1b[31m",
			}}
		},
		Clusters: func() []Cluster {
			return []Cluster{{
				Name: "payments-v1", Balance: "least_request", Requests: 3, MaxRequests: 1024, Connections: 9, RetryBudget: "12 of 20 left",
				Endpoints: []Endpoint{EndpointOf(endpoint.Status{
					Network: "tcp", Address: "10.0.0.1:8080", Host: "payments.internal", Weight: 1, Health: endpoint.Ejected, Since: now, Until: now.Add(30 * time.Second),
					Reason: "5 failures in a row; last: get http://10.0.0.1/?token=" + planted, InFlight: 2, Requests: 40, Failures: 6, Consecutive: 5, Ejections: 1, Open: 4, Idle: 2,
				}, 55*time.Second)},
			}, {Name: "empty", Balance: "random", Held: "cluster empty has no endpoints"}}
		},
		Events: func(cluster string) ([]Event, bool) {
			return []Event{{
				At: now, Cluster: "payments-v1", Endpoint: "10.0.0.1:8080", Event: "ejected", From: "fit", To: "ejected", Cause: "latency",
				Reason: "answers take 2s\x1b", Until: now.Add(30 * time.Second),
			}}, cluster == "" || cluster == "payments-v1"
		},
		Connections: func(max int) Connections {
			return Connections{Open: 2, Shown: []Connection{
				{ID: 17, Listener: "public", Protocol: "http1", Remote: "203.0.113.9:5000", Phase: "idle", Age: Duration(90*time.Second + time.Nanosecond), Requests: 4, BytesIn: 10, BytesOut: 2000, TLS: "1.3", ServerName: "pay.example.com", Identity: "CN=shop"},
				{ID: 18, Listener: "public", Phase: "head"},
			}}
		},
		Places: func() any { return []string{"Test-Country"} },
		Overload: func() Overload {
			return Overload{
				Resources: []Resource{{Name: "memory", Used: 5e8, Limit: 1e9, Grades: []string{"shorten", "tighten"}}},
				Done:      map[string]int64{"reset": 3}, Tenants: []Tenant{{Name: "192.0.2.7\x1b", Held: 32768, Spent: 1e6}},
			}
		},
		Canaries: func() map[string]canary.State {
			return map[string]canary.State{"payments": {Phase: "running", Share: 0.05}}
		},
		CommandCanary: func(_ context.Context, route, command string) (canary.State, error) {
			if command != "pause" {
				return canary.State{}, fmt.Errorf("%q is none of pause", command)
			}
			return canary.State{Phase: "paused"}, nil
		},
		Filter: func(name string) any {
			if name != "cache" {
				return nil
			}
			return map[string]int{"shop": 7}
		},
		Operate: func(_ context.Context, filter, verb, route string, input []byte) (any, error) {
			if verb != "purge" {
				return nil, fmt.Errorf("no filter %s takes %q", filter, verb)
			}
			return filter + " " + verb + " " + route + " " + string(input), nil
		},
		Explain: func(q Question) (Explanation, error) {
			f.asked = q
			if q.Method == "BAD" {
				return Explanation{}, errors.New("method \"BAD\" of " + q.URL)
			}
			return Explanation{
				Data: map[string]any{"url": q.URL, "header": q.Header, "route": "payments"},
				Text: "route payments\n  X-Api-Key: " + planted + "\n  " + q.URL + "\n",
			}, nil
		},
		Reload: func(context.Context) (ReloadResult, error) {
			f.reloads++
			return f.reload, f.failed
		},
	}
}

func pointer[T any](v T) *T { return &v }

func newServer(f *fake) *Server {
	return New(Config{Address: "127.0.0.1:9901", Version: "v1 <b>", Views: f.views(), Log: slog.New(slog.DiscardHandler)})
}

// call asks as a tool on the same machine does; fields change that.
func call(s *Server, method, target string, fields ...string) *httptest.ResponseRecorder {
	body := ""
	if method == "POST" {
		body = "{}"
	}
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Host = "127.0.0.1:9901"
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		switch {
		case fields[i] == "Host":
			req.Host = fields[i+1]
		case fields[i+1] == "":
			req.Header.Del(fields[i])
		default:
			req.Header.Set(fields[i], fields[i+1])
		}
	}
	answer := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(answer, req)
	return answer
}

func expect(t *testing.T, answer *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	if answer.Code != status {
		t.Errorf("status %d, want %d: %s", answer.Code, status, answer.Body)
	}
	for _, part := range parts {
		if !strings.Contains(answer.Body.String(), part) {
			t.Errorf("%q is not in %s", part, answer.Body)
		}
	}
}
