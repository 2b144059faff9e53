package health

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func grpcSpec() config.HealthCheck {
	s := spec()
	s.Type, s.Service, s.Path, s.Status = "grpc", "shop.Orders", "", nil
	return s
}

// reply is the response of a health service.
type reply struct {
	content string
	trailer string // grpc-status behind the content; "": none
	closed  *atomic.Int64

	fields stream.Header
	rest   io.Reader
}

func (r *reply) response() *stream.Response {
	r.rest = strings.NewReader(r.content)
	resp := &stream.Response{Status: 200, Body: r, Length: -1}
	resp.Header.Add("Content-Type", "application/grpc+proto")
	return resp
}

func (r *reply) Read(p []byte) (int, error) { return r.rest.Read(p) }

func (r *reply) Close() error {
	if r.closed != nil {
		r.closed.Add(1)
	}
	return nil
}

func (r *reply) Trailer() *stream.Header {
	if r.trailer == "" {
		return nil
	}
	r.fields = stream.Header{}
	r.fields.Add("grpc-status", r.trailer)
	return &r.fields
}

const isServing = "\x00\x00\x00\x00\x02\x08\x01"

func newGRPC(t *testing.T, spec config.HealthCheck, call Call) *Checker {
	t.Helper()
	c, err := New(Config{Spec: spec, Call: call})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGRPCVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name string
		resp func() *stream.Response
		want string // "" fit
	}{
		{"serving", (&reply{content: isServing, trailer: "0"}).response, ""},
		{"serving, and a field of the future", (&reply{content: "\x00\x00\x00\x00\x06\x12\x02ab\x08\x01", trailer: "0"}).response, ""},
		{"not serving", (&reply{content: "\x00\x00\x00\x00\x02\x08\x02", trailer: "0"}).response, "NOT_SERVING"},
		{"unknown", (&reply{content: "\x00\x00\x00\x00\x02\x08\x03", trailer: "0"}).response, "SERVICE_UNKNOWN"},
		{"absent", (&reply{content: "\x00\x00\x00\x00\x00", trailer: "0"}).response, "UNKNOWN"},
		{"of the future", (&reply{content: "\x00\x00\x00\x00\x02\x08\x09", trailer: "0"}).response, "status 9"},
		{"serving, and then an error", (&reply{content: isServing, trailer: "13"}).response, "INTERNAL"},
		{"no status", (&reply{content: isServing}).response, "without a gRPC status"},
		{"no message", (&reply{trailer: "0"}).response, "not one gRPC message"},
		{"two messages", (&reply{content: isServing + isServing, trailer: "0"}).response, "not one gRPC message"},
		{"compressed", (&reply{content: "\x01" + isServing[1:], trailer: "0"}).response, "compressed"},
		{"garbage", (&reply{content: "\x00\x00\x00\x00\x02\xff\xff", trailer: "0"}).response, "no HealthCheckResponse"},
		{"endless", (&reply{content: strings.Repeat("x", 1<<20), trailer: "0"}).response, "longer than"},
		{"not implemented", func() *stream.Response {
			resp := (&reply{}).response()
			resp.Header.Add("grpc-status", "12")
			return resp
		}, "does not implement grpc.health.v1"},
		{"no such service", (&reply{trailer: "5"}).response, `does not know the service "shop.Orders"`},
		{"HTTP status", func() *stream.Response {
			resp := (&reply{}).response()
			resp.Status = 503
			return resp
		}, "HTTP status 503"},
		{"a page", func() *stream.Response {
			resp := (&reply{content: "<html>"}).response()
			resp.Header.SetID(stream.ContentType, "text/html")
			return resp
		}, "does not speak gRPC"},
	} {
		c := newGRPC(t, grpcSpec(), func(_ context.Context, _ *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return tt.resp(), nil
		})
		err := c.check(t.Context(), endpoints(1)[0])
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestGRPCRequest(t *testing.T) {
	var closed atomic.Int64
	var got *stream.Request
	var content []byte
	var host string
	c := newGRPC(t, grpcSpec(), func(_ context.Context, _ *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		got, host = req, req.Target.Authority()
		content, _ = io.ReadAll(req.Body)
		return (&reply{content: isServing, trailer: "0", closed: &closed}).response(), nil
	})
	if err := c.check(t.Context(), endpoints(1)[0]); err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x00\x00\x00\x0d\x0a\x0bshop.Orders"; string(content) != want || got.Length != int64(len(want)) {
		t.Errorf("content %q (length %d), want %q", content, got.Length, want)
	}
	timeout, _ := got.Header.Get("grpc-timeout")
	if got.Method != "POST" || got.Target.Path != "/grpc.health.v1.Health/Check" || host != "api.example:8080" || got.GRPC != stream.GRPCCall ||
		got.Conn == nil || time.Until(got.Deadline) > 2*time.Second || !strings.HasSuffix(timeout, "m") || len(timeout) > 5 {
		t.Errorf("request %+v to %s, grpc-timeout %s", got, host, timeout)
	}
	if closed.Load() != 1 {
		t.Errorf("the response body was closed %d times", closed.Load())
	}
	server := grpcSpec()
	server.Service, server.Host = "", "health.example"
	c = newGRPC(t, server, c.call)
	if err := c.check(t.Context(), endpoints(1)[0]); err != nil {
		t.Fatal(err)
	}
	if string(content) != "\x00\x00\x00\x00\x00" || host != "health.example" {
		t.Errorf("the server as a whole is asked with %q at %s", content, host)
	}
}

// TestGRPCRun: verdicts come and go as with other types, silence is bounded by
// the timeout, and want of something here is no verdict.
func TestGRPCRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var state atomic.Pointer[string]
		say := func(s string) { state.Store(&s) }
		say("serving")
		list := endpoints(1)
		c := newGRPC(t, grpcSpec(), func(ctx context.Context, _ *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			switch *state.Load() {
			case "silent":
				<-ctx.Done()
				return nil, &stream.Fault{Kind: stream.UpstreamTimeout, Cause: ctx.Err()}
			case "panic":
				panic("test")
			case "unable":
				return nil, &stream.Fault{Kind: stream.Overloaded, Cause: errors.New("too many open files")}
			}
			return (&reply{content: isServing, trailer: "0"}).response(), nil
		})
		c.Update(endpoint.NewSet(list))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Run(ctx)
		}()
		expect := func(health endpoint.Health, reason string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if st := list[0].Status(time.Now()); st.Health != health || !strings.Contains(st.Reason, reason) {
				t.Errorf("%v (%s), want %v (%s)", st.Health, st.Reason, health, reason)
			}
		}
		expect(endpoint.Fit, "")
		say("silent")
		expect(endpoint.Unfit, "no answer within 2s")
		say("serving")
		expect(endpoint.Fit, "")
		say("unable")
		expect(endpoint.Fit, "")
		say("panic")
		expect(endpoint.Unfit, "panicked")
		cancel()
		<-ended
		if c.Stats.Unable.Load() == 0 || c.Stats.Panics.Load() == 0 {
			t.Errorf("stats: %d unable, %d panics", c.Stats.Unable.Load(), c.Stats.Panics.Load())
		}
	})
}

func TestGRPCConfigIsRefused(t *testing.T) {
	call := func(context.Context, *endpoint.Endpoint, *stream.Request) (*stream.Response, error) { return nil, nil }
	for want, change := range map[string]func(*Config){
		"needs a way to make calls": func(c *Config) { c.Call = nil },
		"not the name of a service": func(c *Config) { c.Spec.Service = "a b" },
		"is not a host":             func(c *Config) { c.Spec.Host = "a/b" },
	} {
		cfg := Config{Spec: grpcSpec(), Call: call}
		change(&cfg)
		if c, err := New(cfg); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// FuzzServing: whatever an endpoint sends, only a message whose status is 1 is
// serving, and nothing panics.
func FuzzServing(f *testing.F) {
	f.Add([]byte(isServing))
	f.Add([]byte("\x00\x00\x00\x00\x06\x12\x02ab\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x0b\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if servingOf(frame) == nil && (len(frame) < 7 || frame[0] != 0) {
			t.Fatalf("%x is serving", frame)
		}
	})
}
