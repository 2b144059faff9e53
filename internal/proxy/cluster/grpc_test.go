package cluster

import (
	"context"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// call is a gRPC call; timeout "" says nothing of its time.
func call(timeout string) *stream.Request {
	req := request("POST")
	req.GRPC = stream.GRPCCall
	req.Exchange.Start = time.Now()
	if timeout != "" {
		req.Header.Add("Grpc-Timeout", timeout)
	}
	return req
}

// status is a Trailers-Only response.
func (u *upstream) status(code int) *stream.Response {
	resp := u.respond(200)
	resp.Header.Add("grpc-status", strconv.Itoa(code))
	return resp
}

func TestParseTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1n": 1, "20u": 20 * time.Microsecond, "300m": 300 * time.Millisecond, "5S": 5 * time.Second, "2M": 2 * time.Minute, "1H": time.Hour,
		"0S": 0, "00000001S": time.Second, "99999999n": 99_999_999, "99999999H": math.MaxInt64, "2562047H": 2562047 * time.Hour, "2562048H": math.MaxInt64,
	} {
		if got, ok := parseTimeout(value); !ok || got != want {
			t.Errorf("%q is %v, %v; want %v", value, got, ok, want)
		}
	}
	for _, bad := range []string{"", "S", "1", "1s", "1h", "1 S", " 1S", "1S ", "-1S", "+1S", "1.5S", "123456789S", "1SS", "\u0661S", "1\x00", "0x1S"} {
		if got, ok := parseTimeout(bad); ok {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
}

func TestFormatTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0n", 1: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 1_999_999_999: "1999999u", time.Minute: "60000000u",
		100 * time.Second: "100000m", 48 * time.Hour: "172800S", math.MaxInt64: "2562047H",
	} {
		if got := formatTimeout(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// FuzzTimeout: what is taken has the grammar of the protocol, and what is
// written reads back as no more than it was, and nearly as much.
func FuzzTimeout(f *testing.F) {
	for _, seed := range []string{"1n", "20u", "99999999H", "1s", "123456789S", "", "0m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		d, ok := parseTimeout(value)
		if !ok {
			return
		}
		if digits := strings.TrimRight(value, "HMSmun"); len(digits) != len(value)-1 || len(digits) > 8 || strings.Trim(digits, "0123456789") != "" {
			t.Fatalf("%q is taken", value)
		}
		text := formatTimeout(d)
		back, ok := parseTimeout(text)
		if !ok || back > d || d-back > d/100_000 {
			t.Fatalf("%q is %v, written as %q, read as %v", value, d, text, back)
		}
	})
}

// TestTimeoutOfACall: what is left goes upstream, less what was spent before.
func TestTimeoutOfACall(t *testing.T) {
	for _, c := range []struct {
		name, timeout string
		spent         time.Duration
		route         time.Duration
		sent          string // to the upstream
		deadline      time.Duration
	}{
		{"of the call", "10S", 0, time.Minute, "10000000u", 10 * time.Second},
		{"less what was spent", "10S", 400 * time.Millisecond, time.Minute, "9600000u", 9600 * time.Millisecond},
		{"of the route, for the head", "10M", 0, time.Minute, "600000m", time.Minute},
		{"no time of the route", "10M", 0, 0, "600000m", 10 * time.Minute},
		{"none", "", 0, time.Minute, "", time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(1, nil)
			req := call(c.timeout)
			time.Sleep(c.spent)
			var sent string
			var left time.Duration
			var bounded bool
			f.up[0].serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				sent, _ = req.Header.Get("grpc-timeout")
				left = time.Until(req.Deadline)
				_, bounded = ctx.Deadline()
				return f.up[0].respond(200), nil
			}
			p := retries(1)
			p.Timeout = c.route
			if got := outcome(f.ForRoute(p).Serve(t.Context(), req)); got != "200" {
				t.Errorf("%s: %s", c.name, got)
			}
			if sent != c.sent || left != c.deadline || bounded != (c.timeout != "") || req.Header.Count("grpc-timeout") > 1 {
				t.Errorf("%s: sent %q with %v left, context bounded %v; want %q, %v", c.name, sent, left, bounded, c.sent, c.deadline)
			}
			f.quiet(t)
		})
	}
}

// TestTimeoutIsForGRPC: to others the field means nothing.
func TestTimeoutIsForGRPC(t *testing.T) {
	f := newFixture(1, nil)
	req := request("POST")
	req.Header.Add("grpc-timeout", "nonsense")
	if got := outcome(f.ForRoute(retries(1)).Serve(t.Context(), req)); got != "200" {
		t.Error(got)
	}
	if value, _ := req.Header.Get("grpc-timeout"); value != "nonsense" {
		t.Errorf("it was changed to %q", value)
	}
}

func TestTimeoutRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(1, nil)
		s := f.ForRoute(retries(2))
		for _, c := range []struct {
			name  string
			req   *stream.Request
			spent time.Duration
			kind  stream.Kind
			limit string
		}{
			{"malformed", call("1s"), 0, stream.RequestMalformed, ""},
			{"empty", call(""), 0, stream.RequestMalformed, ""},
			{"twice", call("1S"), 0, stream.RequestMalformed, ""},
			{"no time", call("0S"), 0, stream.RequestTimeout, "grpc-timeout"},
			{"time is up", call("10m"), 10 * time.Millisecond, stream.RequestTimeout, "grpc-timeout"},
		} {
			switch c.name {
			case "empty":
				c.req.Header.Add("grpc-timeout", "")
			case "twice":
				c.req.Header.Add("grpc-timeout", "1S")
			}
			c.req.Exchange.Start = time.Now()
			time.Sleep(c.spent)
			body := newStreamed("xx")
			c.req.Body = body
			resp, err := s.Serve(t.Context(), c.req)
			if fault := stream.AsFault(err); resp != nil || fault.Kind != c.kind || fault.Limit != c.limit || !body.closed || c.req.Exchange.Attempts != 0 {
				t.Errorf("%s: %v, body closed %v, %d attempts", c.name, err, body.closed, c.req.Exchange.Attempts)
			}
		}
		if n := f.Stats.Expired.Load(); n != 2 {
			t.Errorf("%d calls counted as expired, want 2", n)
		}
		f.quiet(t)
	})
}

// TestTimeoutAcrossAttempts: time spent and back-off come off, and there is no
// attempt for which no time is left.
func TestTimeoutAcrossAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(3, nil)
		var sent []string
		for _, u := range f.up {
			u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				value, _ := req.Header.Get("grpc-timeout")
				sent = append(sent, value)
				time.Sleep(30 * time.Millisecond)
				return u.status(14), nil
			}
		}
		req := call("99m")
		p := retries(9, "grpc:unavailable")
		resp, err := f.ForRoute(p).Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if code, ok := stream.GRPCStatus(&resp.Header); !ok || code != 14 || strings.Join(sent, " ") != "99000000n 69000000n 39000000n 9000000n" {
			t.Errorf("status %d, sent %q", code, sent)
		}
		resp.Body.Close()
		f.quiet(t)
	})
}

// TestTimeoutOfBackoff: a wait that would outlast the call is not begun.
func TestTimeoutOfBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(2, nil)
		f.up[0].fails(stream.ConnectRefused, stream.RetryUnsent)
		f.up[1].fails(stream.ConnectRefused, stream.RetryUnsent)
		p := retries(10, "connect")
		p.Retry.BackoffBase, p.Retry.BackoffMax = config.Duration(time.Hour), config.Duration(time.Hour)
		req, start := call("50m"), time.Now()
		if got := outcome(f.ForRoute(p).Serve(t.Context(), req)); got != "connect_refused" || req.Exchange.RetryRefused != "deadline" || time.Since(start) > 50*time.Millisecond {
			t.Errorf("%s after %v, refused %q", got, time.Since(start), req.Exchange.RetryRefused)
		}
		f.quiet(t)
	})
}

// TestTimeoutBeforeTheHead: whichever ends the attempt, the context or the
// deadline that the codec watches, the client hears that its time was up, and
// the endpoint is not blamed.
func TestTimeoutBeforeTheHead(t *testing.T) {
	for name, kind := range map[string]stream.Kind{"context": stream.ClientGone, "watchdog": stream.UpstreamTimeout, "dial": stream.ConnectTimeout} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(1, func(c *Config) {
				c.Ejection = config.Ejection{Consecutive: 1, Base: config.Duration(time.Hour), MaxShare: 1}
			})
			f.up[0].serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				if kind == stream.ClientGone {
					<-ctx.Done()
				} else {
					time.Sleep(time.Until(req.Deadline))
				}
				return nil, &stream.Fault{Kind: kind, Retry: stream.RetryIdempotent}
			}
			req, start := call("250m"), time.Now()
			_, err := f.ForRoute(retries(3, "timeout", "connect")).Serve(t.Context(), req)
			fault := stream.AsFault(err)
			if fault.Kind != stream.RequestTimeout || fault.Limit != "grpc-timeout" || time.Since(start) != 250*time.Millisecond || req.Exchange.Attempts != 1 {
				t.Errorf("%s: %v after %v, %d attempts", name, err, time.Since(start), req.Exchange.Attempts)
			}
			if st := f.up[0].ep.Status(time.Now()); st.Health != endpoint.Fit || st.Failures != 0 {
				t.Errorf("%s: the endpoint is %v with %d failures", name, st.Health, st.Failures)
			}
			f.quiet(t)
		})
	}
}

// TestClientLeavesACallWithATimeout: that is not its deadline.
func TestClientLeavesACallWithATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(1, nil)
		f.up[0].serve = func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.UpstreamReset}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := outcome(f.ForRoute(retries(3, "reset")).Serve(ctx, call("10S"))); got != "client_gone" {
			t.Error(got)
		}
		f.quiet(t)
	})
}

// content is a response body that ends with the context of its exchange.
type content struct {
	ending
	ctx   context.Context
	after time.Duration // of silence; then the end
}

func (c *content) Read([]byte) (int, error) {
	select {
	case <-c.ctx.Done():
		return 0, &stream.Fault{Kind: stream.ClientGone, Cause: c.ctx.Err()}
	case <-time.After(c.after):
		return 0, io.EOF
	}
}

func (c *content) Await() error { return nil }

// TestTimeoutOfAStream: the deadline is that of the content, too.
func TestTimeoutOfAStream(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout string
		gone    time.Duration // when the client leaves; 0: never
		want    string
		after   time.Duration
	}{
		{"cut", "2S", 0, "request_timeout (grpc-timeout)", 2 * time.Second},
		{"in time", "20S", 0, "EOF", 5 * time.Second},
		{"not bounded", "", 0, "EOF", 5 * time.Second},
		{"the client leaves", "20S", time.Second, "client_gone", time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(1, nil)
			var inner context.Context
			f.up[0].serve = func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
				inner = ctx
				body := &content{ending: ending{Body: stream.NoBody, end: f.up[0].ep.Ended}, ctx: ctx, after: 5 * time.Second}
				return &stream.Response{Status: 200, Body: body, Length: -1}, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.gone > 0 {
				time.AfterFunc(c.gone, cancel)
			}
			p := retries(1)
			p.Timeout = time.Second // until the head only
			start := time.Now()
			resp, err := f.ForRoute(p).Serve(ctx, call(c.timeout))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := resp.Body.(stream.Awaiter); !ok {
				t.Error("who waits for the stream cannot")
			}
			_, err = resp.Body.Read(make([]byte, 8))
			got := err.Error()
			if fault, ok := err.(*stream.Fault); ok {
				got = fault.Kind.String()
				if fault.Limit != "" {
					got += " (" + fault.Limit + ")"
				}
			}
			if got != c.want || time.Since(start) != c.after {
				t.Errorf("%s: %s after %v, want %s after %v", c.name, got, time.Since(start), c.want, c.after)
			}
			resp.Body.Close()
			if c.timeout != "" && inner.Err() == nil {
				t.Errorf("%s: the timer of the call is still there", c.name)
			}
			f.quiet(t)
		})
	}
}

// TestGRPCRetryRules is one line for each rule: the first endpoint answers with
// the status, the second would answer 200.
func TestGRPCRetryRules(t *testing.T) {
	inHeader := func(code int) func(*upstream) *stream.Response {
		return func(u *upstream) *stream.Response { return u.status(code) }
	}
	for _, c := range []struct {
		name    string
		on      string
		kind    stream.GRPC
		first   func(*upstream) *stream.Response
		body    string
		made    int
		refused string
	}{
		{name: "listed by name", on: "grpc:unavailable", kind: stream.GRPCCall, first: inHeader(14), made: 2},
		{name: "listed by number", on: "grpc:8", kind: stream.GRPCCall, first: inHeader(8), made: 2},
		{name: "gRPC-Web", on: "grpc:aborted", kind: stream.GRPCWeb, first: inHeader(10), made: 2},
		{name: "with a body that is kept", on: "grpc:unavailable", kind: stream.GRPCCall, first: inHeader(14), body: "content", made: 2},
		{name: "with a body that is too large", on: "grpc:unavailable", kind: stream.GRPCCall, first: inHeader(14),
			body: strings.Repeat("x", 100<<10), made: 1, refused: "body"},
		{name: "another status", on: "grpc:unavailable", kind: stream.GRPCCall, first: inHeader(13), made: 1},
		{name: "OK", on: "grpc:unavailable", kind: stream.GRPCCall, first: inHeader(0), made: 1},
		{name: "not listed", on: "503", kind: stream.GRPCCall, first: inHeader(14), made: 1},
		{name: "no gRPC", on: "grpc:unavailable", kind: stream.NotGRPC, first: inHeader(14), made: 1},
		{name: "behind messages", on: "grpc:unavailable", kind: stream.GRPCCall, first: func(u *upstream) *stream.Response { return u.respond(200) }, made: 1},
		{name: "status of HTTP, and POST", on: "503", kind: stream.GRPCCall, first: func(u *upstream) *stream.Response { return u.respond(503) },
			made: 1, refused: "method"},
	} {
		f := newFixture(2, nil)
		for i, u := range f.up {
			u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				if err := u.read(req); err != nil {
					return nil, err
				}
				if i == 0 {
					return c.first(u), nil
				}
				return u.respond(200), nil
			}
		}
		req := call("")
		req.GRPC = c.kind
		if c.body != "" {
			req.Body = newStreamed(c.body)
		}
		resp, err := f.ForRoute(retries(2, c.on)).Serve(t.Context(), req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		x := &req.Exchange
		if x.Attempts != c.made || x.RetryRefused != c.refused || c.made == 2 && resp.Header.Len() != 0 {
			t.Errorf("%s: %d attempts, refused %q", c.name, x.Attempts, x.RetryRefused)
		}
		if c.made == 2 && f.up[1].bodies[0] != c.body {
			t.Errorf("%s: the second attempt sent %d bytes", c.name, len(f.up[1].bodies[0]))
		}
		resp.Body.Close()
		f.quiet(t)
	}
}

// TestGRPCBudget: retries on gRPC statuses are paid like others.
func TestGRPCBudget(t *testing.T) {
	f := newFixture(2, func(c *Config) { c.RetryBudget = config.RetryBudget{} })
	for _, u := range f.up {
		u.serve = func(context.Context, *stream.Request) (*stream.Response, error) { return u.status(14), nil }
	}
	req := call("")
	if got := outcome(f.ForRoute(retries(2, "grpc:unavailable")).Serve(t.Context(), req)); got != "200" || req.Exchange.RetryRefused != "budget" || req.Exchange.Attempts != 1 {
		t.Errorf("%s, facts %+v", got, req.Exchange)
	}
	f.quiet(t)
}

func TestGRPCEjection(t *testing.T) {
	for _, c := range []struct {
		name    string
		code    int
		timeout string
		want    endpoint.Health
	}{
		{"unavailable", 14, "", endpoint.Ejected},
		{"unavailable, with a deadline", 14, "10S", endpoint.Ejected},
		{"deadline of the server", 4, "", endpoint.Ejected},
		{"deadline of the client", 4, "10S", endpoint.Fit},
		{"internal", 13, "", endpoint.Fit},
		{"resource exhausted", 8, "", endpoint.Fit},
		{"OK", 0, "", endpoint.Fit},
	} {
		f := newFixture(1, func(c *Config) {
			c.Ejection = config.Ejection{Consecutive: 2, Base: config.Duration(time.Hour), MaxShare: 1}
		})
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) { return f.up[0].status(c.code), nil }
		s := f.ForRoute(retries(1))
		for range 2 {
			outcome(s.Serve(t.Context(), call(c.timeout)))
		}
		if st := f.up[0].ep.Status(time.Now()); st.Health != c.want || c.want == endpoint.Ejected && !strings.Contains(st.Reason, "gRPC status ") {
			t.Errorf("%s: the endpoint is %v (%s), want %v", c.name, st.Health, st.Reason, c.want)
		}
		f.quiet(t)
	}
}

func TestAllocsOfACall(t *testing.T) {
	for timeout, ceiling := range map[string]float64{"": 0, "10S": 8} {
		f := newFixture(1, nil)
		resp := f.up[0].respond(200)
		f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil }
		resp.Body = stream.NoBody
		s := f.ForRoute(retries(1))
		req := call(timeout)
		measured := testing.AllocsPerRun(200, func() {
			if timeout != "" {
				req.Header.Set("grpc-timeout", timeout)
				req.Exchange.Start = time.Now()
			}
			resp.Body = stream.NoBody
			f.up[0].fresh = f.up[0].fresh[:0]
			got, err := s.Serve(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			got.Body.Close()
			f.up[0].ep.Ended()
		})
		if measured > ceiling {
			t.Errorf("grpc-timeout %q: %v allocations, want %v at most", timeout, measured, ceiling)
		}
	}
}
