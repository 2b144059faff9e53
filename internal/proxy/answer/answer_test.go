package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func stage(serve stream.ServiceFunc) *Stage {
	return New(serve, Config{Log: slog.New(slog.DiscardHandler)})
}

func failing(f *stream.Fault) *Stage {
	return stage(func(context.Context, *stream.Request) (*stream.Response, error) { return nil, f })
}

func content(t *testing.T, resp *stream.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The errors of RFC 9209 section 2.3.
var proxyErrors = map[string]bool{
	"dns_timeout": true, "dns_error": true, "destination_not_found": true, "destination_unavailable": true,
	"destination_ip_prohibited": true, "destination_ip_unroutable": true, "connection_refused": true,
	"connection_terminated": true, "connection_timeout": true, "connection_read_timeout": true,
	"connection_write_timeout": true, "connection_limit_reached": true, "tls_protocol_error": true,
	"tls_certificate_error": true, "tls_alert_received": true, "http_request_error": true, "http_request_denied": true,
	"http_response_incomplete": true, "http_response_header_section_size": true, "http_response_header_size": true,
	"http_response_body_size": true, "http_response_trailer_section_size": true, "http_response_trailer_size": true,
	"http_response_transfer_coding": true, "http_response_content_coding": true, "http_response_timeout": true,
	"http_upgrade_failed": true, "http_protocol_error": true, "proxy_internal_response": true,
	"proxy_internal_error": true, "proxy_configuration_error": true, "proxy_loop_detected": true,
}

// Every kind has an answer in every format, and none shows the cause.
func TestEveryKind(t *testing.T) {
	details := regexp.MustCompile(`^weir; error=([a-z_]+); details="([a-z_]+)"$`)
	for kind := range stream.NumKinds {
		m := meanings[kind]
		if m.status < 400 || m.status > 599 || phrases[m.status] == "" || m.text == "" || !proxyErrors[m.error] {
			t.Errorf("%s: %+v, %q", kind, m, phrases[m.status])
			continue
		}
		if m.status < 500 && (&stream.Fault{Kind: kind}).Origin() == stream.Upstream {
			t.Errorf("%s: status %d blames the client for the upstream", kind, m.status)
		}
		for accept, contentType := range map[string]string{
			"*/*": "text/plain; charset=utf-8", "application/json": "application/json", "text/html": "text/html; charset=utf-8",
		} {
			fault := &stream.Fault{Kind: kind, Limit: "max_header_count", Cause: errors.New("secret 10.1.2.3")}
			req := filtertest.Request("GET", "http://h/path-of-client", "Accept: "+accept)
			resp, err := failing(fault).Serve(context.Background(), req)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			body := content(t, resp)
			if resp.Status != m.status || resp.Length != int64(len(body)) {
				t.Errorf("%s: status %d, length %d of %d", kind, resp.Status, resp.Length, len(body))
			}
			if got, _ := resp.Header.GetID(stream.ContentType); got != contentType {
				t.Errorf("%s: Accept %s gives %s", kind, accept, got)
			}
			status, _ := resp.Header.GetID(stream.ProxyStatus)
			if parts := details.FindStringSubmatch(status); parts == nil || parts[1] != m.error || parts[2] != kind.String() {
				t.Errorf("%s: Proxy-Status %s", kind, status)
			}
			for _, shown := range []string{strconv.Itoa(m.status), m.text, "max_header_count", "test-1"} {
				if !strings.Contains(body, shown) {
					t.Errorf("%s as %s does not show %q: %s", kind, accept, shown, body)
				}
			}
			if strings.Contains(body, "secret") || strings.Contains(body, "10.1.2.3") || strings.Contains(body, "path-of-client") {
				t.Errorf("%s as %s shows the inside: %s", kind, accept, body)
			}
			if accept == "application/json" && !json.Valid([]byte(body)) {
				t.Errorf("%s: no JSON: %s", kind, body)
			}
			if noted := req.Exchange.Status; req.Exchange.Fault != fault || noted != m.status && kind != stream.ClientGone {
				t.Errorf("%s: the exchange has %v, %d", kind, req.Exchange.Fault, req.Exchange.Status)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	for kind, want := range map[stream.Kind]int{
		stream.Internal: 500, stream.RequestMalformed: 400, stream.RequestLineTooLong: 414, stream.HeadersTooLarge: 431,
		stream.TooManyHeaders: 431, stream.BodyTooLarge: 413, stream.VersionUnsupported: 505, stream.MethodUnsupported: 501,
		stream.ExpectationUnknown: 417, stream.HeadTimeout: 408, stream.BodyTimeout: 408, stream.Misdirected: 421,
		stream.NoRoute: 404, stream.NoEndpoint: 503, stream.RequestTimeout: 504, stream.Overloaded: 503,
		stream.Unauthenticated: 401, stream.Forbidden: 403, stream.RateLimited: 429, stream.LoopDetected: 502,
		stream.ConnectRefused: 502, stream.ConnectTimeout: 504, stream.UpstreamTimeout: 504, stream.ResponseTruncated: 502,
	} {
		if got := stage(nil).Respond(filtertest.Request("GET", "http://h/"), &stream.Fault{Kind: kind}).Status; got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}

// Who is gone gets an answer made, as every fault has one, but unless the codec
// gets it sent nothing says so.
func TestClientGone(t *testing.T) {
	fault := &stream.Fault{Kind: stream.ClientGone}
	req := filtertest.Request("GET", "http://h/")
	resp, err := failing(fault).Serve(context.Background(), req)
	if resp == nil || resp.Status != 400 || err != nil || req.Exchange.Fault != fault || req.Exchange.Status != 0 {
		t.Errorf("%v, %v, exchange %+v", resp, err, req.Exchange)
	}
}

func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 90*time.Second + 1: "91"} {
		resp := stage(nil).Respond(filtertest.Request("GET", "http://h/"), &stream.Fault{Kind: stream.RateLimited, RetryAfter: after})
		if got, _ := resp.Header.GetID(stream.RetryAfter); got != want {
			t.Errorf("%v: Retry-After %q, want %q", after, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	fault := &stream.Fault{Kind: stream.NoRoute}
	get := stage(nil).Respond(filtertest.Request("GET", "http://h/"), fault)
	head := stage(nil).Respond(filtertest.Request("HEAD", "http://h/"), fault)
	if head.Length != get.Length || head.Length == 0 || content(t, head) != "" {
		t.Errorf("HEAD: length %d, GET: %d", head.Length, get.Length)
	}
}

// The codec asks with what little it has read.
func TestUnreadableRequest(t *testing.T) {
	var req stream.Request
	resp := stage(nil).Respond(&req, &stream.Fault{Kind: stream.HeadersTooLarge, Limit: "max_header_bytes"})
	want := "431 Request Header Fields Too Large\nThe header fields of the request are too large.\nLimit: max_header_bytes\n"
	if got := content(t, resp); got != want || resp.Status != 431 || req.Exchange.Fault == nil {
		t.Errorf("answer %d %q, want %q", resp.Status, got, want)
	}
}

// Nothing that could be markup is shown, even if a stage lets it come here.
func TestNoMarkup(t *testing.T) {
	req := filtertest.Request("GET", "http://h/", "Accept: text/html")
	req.ID = `"><script>`
	resp := stage(nil).Respond(req, &stream.Fault{Kind: stream.NoRoute, Limit: "<b>"})
	if body := content(t, resp); strings.Contains(body, "script") || strings.Contains(body, "<b>") {
		t.Error(body)
	}
}

func TestResponsePasses(t *testing.T) {
	want := filtertest.Response(503, "from the upstream")
	req := filtertest.Request("GET", "http://h/")
	got, err := stage(func(context.Context, *stream.Request) (*stream.Response, error) { return want, nil }).Serve(context.Background(), req)
	if got != want || err != nil || req.Exchange.Fault != nil {
		t.Errorf("%v, %v, %v", got, err, req.Exchange.Fault)
	}
}

type watched struct {
	stream.Body
	closed bool
}

func (w *watched) Close() error { w.closed = true; return nil }

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	a := New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		panic("secret of a filter")
	}), Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	body := &watched{Body: stream.NoBody}
	req := filtertest.Request("POST", "http://h/")
	req.Body = body
	resp, err := a.Serve(context.Background(), req)
	if err != nil || resp.Status != 500 || !body.closed || a.Stats().Panics.Load() != 1 {
		t.Fatalf("%v, %v, request body closed: %v, %d panics", resp, err, body.closed, a.Stats().Panics.Load())
	}
	if req.Exchange.Fault == nil || req.Exchange.Fault.Kind != stream.Internal {
		t.Errorf("the exchange has %v", req.Exchange.Fault)
	}
	if strings.Contains(content(t, resp), "secret") {
		t.Error("the answer shows the panic")
	}
	for _, logged := range []string{"secret of a filter", "test-1", "TestPanic"} {
		if !strings.Contains(log.String(), logged) {
			t.Errorf("the log lacks %q: %s", logged, &log)
		}
	}
}

// What a stage held when it panicked behind the upstream's response is closed:
// else its connection and its place in the cluster would be gone for good.
func TestPanicWithAResponse(t *testing.T) {
	content := &watched{Body: stream.NoBody}
	a := stage(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Exchange.Content = content // as the cluster does
		panic("defect in the response half of a filter")
	})
	resp, err := a.Serve(context.Background(), filtertest.Request("GET", "http://h/"))
	if err != nil || resp.Status != 500 || !content.closed {
		t.Errorf("%v, %v, the upstream's response closed: %v", resp, err, content.closed)
	}
}

// A stage that breaks its contract is answered with 500, never let through.
func TestBrokenStage(t *testing.T) {
	body := &watched{Body: stream.NoBody}
	for name, serve := range map[string]stream.ServiceFunc{
		"neither": func(context.Context, *stream.Request) (*stream.Response, error) { return nil, nil },
		"a nil fault": func(context.Context, *stream.Request) (*stream.Response, error) {
			var f *stream.Fault
			return nil, f
		},
		"both": func(context.Context, *stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Body: body}, errors.New("x")
		},
		"another error": func(context.Context, *stream.Request) (*stream.Response, error) { return nil, io.EOF },
	} {
		a := stage(serve)
		req := filtertest.Request("GET", "http://h/")
		resp, err := a.Serve(context.Background(), req)
		if err != nil || resp.Status != 500 || req.Exchange.Fault.Kind != stream.Internal {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		if want := int64(1); name != "another error" && a.Stats().Broken.Load() != want {
			t.Errorf("%s: %d broken stages counted, want %d", name, a.Stats().Broken.Load(), want)
		}
	}
	if !body.closed {
		t.Error("the response beside an error stays open")
	}
}

func TestAllocsOfAResponse(t *testing.T) {
	resp := filtertest.Response(200, "")
	a := stage(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
	req := filtertest.Request("GET", "http://h/")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := a.Serve(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a response that passes, want none", n)
	}
}

func BenchmarkRespond(b *testing.B) {
	a := stage(nil)
	req := filtertest.Request("GET", "http://h/", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	fault := &stream.Fault{Kind: stream.NoRoute}
	b.ReportAllocs()
	for b.Loop() {
		a.Respond(req, fault)
	}
}

// TestHeaderOfFault: what a fault has for the client stands in its answer.
func TestHeaderOfFault(t *testing.T) {
	for _, contentType := range []string{"text/plain", "application/grpc"} {
		req := filtertest.Request("POST", "http://h/", "Content-Type: "+contentType)
		req.GRPC = stream.GRPCOf(req.Method, &req.Header)
		own := filtertest.Header("RateLimit-Limit: 10", "WWW-Authenticate: Basic", "WWW-Authenticate: Bearer")
		resp := stage(nil).Respond(req, &stream.Fault{Kind: stream.RateLimited, Header: &own})
		if limit, _ := resp.Header.Get("RateLimit-Limit"); limit != "10" || resp.Header.Count("WWW-Authenticate") != 2 {
			t.Errorf("%s: %q", contentType, filtertest.Lines(&resp.Header))
		}
	}
}
