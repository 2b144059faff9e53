package cluster

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// noted is a picker that keeps what it is told.
type noted struct {
	order
	heard []string
}

func (n *noted) note(what string, ep *endpoint.Endpoint, took, after time.Duration) {
	text := what + " " + ep.Address + " " + took.String()
	if after > 0 {
		text += " after " + after.String()
	}
	n.heard = append(n.heard, text)
}

func (n *noted) Answered(ep *endpoint.Endpoint, took time.Duration, _ time.Time) {
	n.note("answered", ep, took, 0)
}
func (n *noted) Failed(ep *endpoint.Endpoint, took, after time.Duration, _ time.Time) {
	n.note("failed", ep, took, after)
}
func (n *noted) Errored(ep *endpoint.Endpoint, took time.Duration, _ time.Time) {
	n.note("errored", ep, took, 0)
}
func (n *noted) Broken(ep *endpoint.Endpoint, took time.Duration, _ time.Time) {
	n.note("broken", ep, took, 0)
}

// TestObserve: what the picker is told of each kind of result.
func TestObserve(t *testing.T) {
	head := func(status int, fields ...string) func(u *upstream) {
		return func(u *upstream) {
			u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
				time.Sleep(20 * time.Millisecond)
				resp := u.respond(status)
				for i := 0; i < len(fields); i += 2 {
					resp.Header.Add(fields[i], fields[i+1])
				}
				return resp, nil
			}
		}
	}
	fails := func(kind stream.Kind, retry stream.Retry, reused bool) func(u *upstream) {
		return func(u *upstream) {
			u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				time.Sleep(20 * time.Millisecond)
				req.Exchange.Reused = reused
				return nil, &stream.Fault{Kind: kind, Retry: retry}
			}
		}
	}
	cases := []struct {
		name string
		up   func(u *upstream)
		grpc bool
		want string
	}{
		{"an answer", head(200), false, "answered a 20ms"},
		{"not found is one, too", head(404), false, "answered a 20ms"},
		{"too many requests", head(429), false, "failed a 20ms"},
		{"too many requests, with a time", head(429, "Retry-After", "7"), false, "failed a 20ms after 7s"},
		{"bad gateway", head(502), false, "failed a 20ms"},
		{"unavailable, with a time", head(503, "Retry-After", "7"), false, "failed a 20ms after 7s"},
		{"an error of the application", head(500), false, "errored a 20ms"},
		{"gRPC: a stream begins", head(200), true, "answered a 20ms"},
		{"gRPC: exhausted", head(200, "Grpc-Status", "8"), true, "failed a 20ms"},
		{"gRPC: unavailable", head(200, "Grpc-Status", "14"), true, "failed a 20ms"},
		{"gRPC: not found", head(200, "Grpc-Status", "5"), true, "answered a 20ms"},
		{"gRPC: internal", head(200, "Grpc-Status", "13"), true, "errored a 20ms"},
		{"gRPC: deadline", head(200, "Grpc-Status", "4"), true, "broken a 20ms"},
		{"refused", fails(stream.ConnectRefused, stream.RetryUnsent, false), false, "failed a 20ms"},
		{"reset", fails(stream.UpstreamReset, stream.RetryIdempotent, true), false, "failed a 20ms"},
		{"too late", fails(stream.UpstreamTimeout, stream.RetryIdempotent, false), false, "broken a 20ms"},
		{"the client's fault", fails(stream.BodyTimeout, stream.RetryNever, false), false, ""},
		{"a stale connection, twice", fails(stream.UpstreamClosed, stream.RetryUnsent, true), false, ""},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			picker := new(noted)
			f := newFixture(1, func(cfg *Config) { cfg.Picker = picker })
			c.up(f.up[0])
			req := request("GET")
			if c.grpc {
				req.GRPC = stream.GRPCCall
			}
			outcome(f.ForRoute(retries(1)).Serve(t.Context(), req))
			if got := strings.Join(picker.heard, ", "); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
	}
}

// TestObserveClientGone: a client that goes says only how long it had waited.
func TestObserveClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		picker := new(noted)
		f := newFixture(1, func(cfg *Config) { cfg.Picker = picker })
		f.up[0].serve = func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.UpstreamReset, Retry: stream.RetryNever}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		outcome(f.ForRoute(retries(1)).Serve(ctx, request("GET")))
		if got := strings.Join(picker.heard, ", "); got != "broken a 1s" {
			t.Error(got)
		}
	})
}
