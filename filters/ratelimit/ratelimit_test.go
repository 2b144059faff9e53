package ratelimit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// The library of the store sleeps up to a second before it asks a cluster for its
// topology again, also when it has found that there is none and is closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

// send sends one request through the filter and returns its fault, or nil.
func send(t testing.TB, s stream.Service, fields ...string) (*stream.Fault, *stream.Response) {
	t.Helper()
	return serve(t, s, filtertest.Request("GET", "http://h/?q=1", fields...))
}

func serve(t testing.TB, s stream.Service, req *stream.Request) (*stream.Fault, *stream.Response) {
	t.Helper()
	resp, err := s.Serve(context.Background(), req)
	if err != nil {
		return stream.AsFault(err), nil
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return nil, resp
}

// allowed is how many of n requests get through.
func allowed(t testing.TB, s stream.Service, n int, fields ...string) (got int) {
	t.Helper()
	for range n {
		if fault, _ := send(t, s, fields...); fault == nil {
			got++
		}
	}
	return got
}

// TestRefusal holds the filter to the contract and shows what a refusal says.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &filtertest.House{}
		s := filtertest.BuildIn(t, h, Definition(), "{rate: 60/m, burst: 2, headers: true}", &filtertest.Next{})
		for i, left := range []string{"1", "0"} {
			fault, resp := send(t, s)
			if fault != nil {
				t.Fatal(fault)
			}
			want := fmt.Sprintf("RateLimit-Limit: 2|RateLimit-Remaining: %s|RateLimit-Reset: %d", left, i+1)
			if got := strings.Join(filtertest.Lines(&resp.Header), "|"); got != want {
				t.Errorf("request %d: %s, want %s", i, got, want)
			}
		}
		time.Sleep(250 * time.Millisecond)
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content")
		fault, _ := serve(t, s, req)
		if fault == nil || fault.Kind != stream.RateLimited || fault.Limit != "rate_limit" || fault.RetryAfter != 750*time.Millisecond {
			t.Fatalf("%+v", fault)
		}
		if got := strings.Join(filtertest.Lines(fault.Header), "|"); got != "RateLimit-Limit: 2|RateLimit-Remaining: 0|RateLimit-Reset: 2" {
			t.Errorf("the refusal has %s", got)
		}
		time.Sleep(750 * time.Millisecond)
		if got := allowed(t, s, 5); got != 1 {
			t.Errorf("%d allowed after the wait, want 1", got)
		}
		for series, want := range map[string]int64{
			`weir_rate_limit_decisions_total{limit="1",result="allowed"}`: 3, `weir_rate_limit_decisions_total{limit="1",result="refused"}`: 5,
			`weir_rate_limit_decisions_total{limit="1",result="shadow_refused"}`: 0,
		} {
			if got := h.Counted(series); got != want {
				t.Errorf("%s is %d, want %d", series, got, want)
			}
		}
	})
}

func TestContract(t *testing.T) {
	out := filtertest.Run(t, Definition(), "rate: 1/s", filtertest.WithBody(filtertest.Request("POST", "http://h/"), "x"), nil)
	if out.Fault != nil || out.Sent == nil || out.Sent.Body != "x" || out.Header.Len() != 0 {
		t.Errorf("%+v", out)
	}
	out = filtertest.Run(t, Definition(), "{rate: 1/s, headers: true}", filtertest.Request("GET", "http://h/"), filtertest.Fail(stream.NoEndpoint))
	if out.Fault == nil || out.Fault.Kind != stream.NoEndpoint {
		t.Errorf("%+v", out)
	}
	// A refusal closes the body: two filters, the inner one is used up.
	synctest.Test(t, func(t *testing.T) {
		s := filtertest.Build(t, Definition(), "rate: 1/s", &filtertest.Next{})
		allowed(t, s, 1)
		body := &watched{Body: stream.NoBody}
		req := filtertest.Request("POST", "http://h/")
		req.Body = body
		if fault, _ := serve(t, s, req); fault == nil || !body.closed {
			t.Errorf("fault %v, closed %v", fault, body.closed)
		}
	})
}

type watched struct {
	stream.Body
	closed bool
}

func (b *watched) Close() error { b.closed = true; return nil }

func TestStatus503(t *testing.T) {
	s := filtertest.Build(t, Definition(), "{rate: 1/d, status: 503}", &filtertest.Next{})
	allowed(t, s, 1)
	if fault, _ := send(t, s); fault == nil || fault.Kind != stream.Overloaded || fault.RetryAfter < 23*time.Hour {
		t.Errorf("%+v", fault)
	}
}

// TestKeys: what is limited by itself, and what is not.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		key  string
		same bool // the two requests have one key
		a, b []string
	}{
		{"[]", true, []string{"X-A: 1"}, []string{"X-A: 2"}},
		{`"header:x-a"`, false, []string{"X-A: 1"}, []string{"X-A: 2"}},
		{`"header:x-a"`, true, []string{"X-A: 1", "X-B: 1"}, []string{"x-a: 1", "X-B: 2"}},
		{`"header:x-a"`, true, nil, nil},
		{`"header:x-a"`, false, nil, []string{"X-A:"}}, // absent is not empty
		{`"cookie:sid"`, false, []string{"Cookie: sid=1"}, []string{"Cookie: sid=2"}},
		{`["header:x-a", "header:x-b"]`, false, []string{"X-A: ab", "X-B: c"}, []string{"X-A: a", "X-B: bc"}},
		{`["header:x-a", "header:x-b"]`, false, []string{"X-A: a"}, []string{"X-B: a"}},
		{`["header:x-a", "header:x-b"]`, false, []string{"X-A: a\x00b"}, []string{"X-A: a", "X-B: b"}},
	} {
		s := filtertest.Build(t, Definition(), "{rate: 1/d, key: "+c.key+"}", &filtertest.Next{})
		if got := allowed(t, s, 2, c.a...); got != 1 {
			t.Errorf("key %s: %d of the first allowed", c.key, got)
		}
		if got := allowed(t, s, 1, c.b...) == 0; got != c.same {
			t.Errorf("key %s of %q and %q: one key is %v", c.key, c.a, c.b, got)
		}
	}
}

func TestNetworkOfClient(t *testing.T) {
	s := filtertest.Build(t, Definition(), "{rate: 1/d, key: client/24}", &filtertest.Next{})
	for _, c := range []struct {
		client string
		ok     bool
	}{{"192.0.2.1", true}, {"192.0.2.200", false}, {"192.0.3.1", true}, {"2001:db8::1", true}, {"2001:db8::ffff:1", false}, {"2001:db8:0:1::1", true}} {
		req := filtertest.Request("GET", "http://h/")
		req.Client = netip.MustParseAddr(c.client)
		if fault, _ := serve(t, s, req); (fault == nil) != c.ok {
			t.Errorf("%s: %v", c.client, fault)
		}
	}
}

// TestSeveralLimits: all must allow, and what one refuses costs nothing at the
// others.
func TestSeveralLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &filtertest.House{}
		s := filtertest.BuildIn(t, h, Definition(), `
headers: true
limits:
  - {name: tenant, rate: 2/m, key: "header:x-tenant"}
  - {name: all, rate: 3/h}
`, &filtertest.Next{})
		if got := allowed(t, s, 5, "X-Tenant: a"); got != 2 {
			t.Errorf("tenant a: %d allowed, want 2", got)
		}
		if _, resp := send(t, s, "X-Tenant: b"); resp == nil || !strings.Contains(strings.Join(filtertest.Lines(&resp.Header), "|"), "RateLimit-Limit: 3|RateLimit-Remaining: 0") {
			t.Errorf("tenant b does not see the limit that is closest")
		}
		fault, _ := send(t, s, "X-Tenant: c")
		if fault == nil || fault.Limit != "rate_limit.all" || fault.RetryAfter != 20*time.Minute {
			t.Errorf("tenant c: %+v", fault)
		}
		if a, r := h.Counted(`weir_rate_limit_decisions_total{limit="tenant",result="refused"}`), h.Counted(`weir_rate_limit_decisions_total{limit="all",result="refused"}`); a != 3 || r != 1 {
			t.Errorf("refused by tenant %d, by all %d", a, r)
		}
	})
}

func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &filtertest.House{}
		decoded, _ := filtertest.Decode(t, Definition(), "{rate: 1/m, mode: shadow, headers: true}")
		env := h.Env(t)
		env.Log = slog.New(slog.NewTextHandler(&log, nil))
		s, err := Definition().Build(decoded, env, &filtertest.Next{})
		if err != nil {
			t.Fatal(err)
		}
		if got := allowed(t, s, 4); got != 4 {
			t.Errorf("%d of 4 get through in shadow mode", got)
		}
		if n := h.Counted(`weir_rate_limit_decisions_total{limit="1",result="shadow_refused"}`); n != 3 {
			t.Errorf("%d are counted as refused in shadow mode, want 3", n)
		}
		time.Sleep(quiet)
		allowed(t, s, 2)
		if n := strings.Count(log.String(), "shadow mode"); n != 2 {
			t.Errorf("%d lines in the log, want one each ten seconds:\n%s", n, log.String())
		}
	})
}

// TestShadowBesideEnforced: a limit on trial has no say, and counts only what the
// others let through.
func TestShadowBesideEnforced(t *testing.T) {
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, Definition(), `{headers: true, limits: [{name: trial, rate: 1/d, mode: shadow}, {name: real, rate: 3/d}]}`, &filtertest.Next{})
	if _, resp := send(t, s); resp == nil || strings.Join(filtertest.Lines(&resp.Header), "|") != "RateLimit-Limit: 3|RateLimit-Remaining: 2|RateLimit-Reset: 28800" {
		t.Errorf("%+v", resp)
	}
	if got := allowed(t, s, 9); got != 2 {
		t.Errorf("%d more allowed, want 2", got)
	}
	for series, want := range map[string]int64{
		`{limit="trial",result="shadow_refused"}`: 2, `{limit="trial",result="allowed"}`: 1, `{limit="real",result="refused"}`: 7, `{limit="real",result="allowed"}`: 3,
	} {
		if got := h.Counted("weir_rate_limit_decisions_total" + series); got != want {
			t.Errorf("%s is %d, want %d", series, got, want)
		}
	}
}

// TestReloadKeepsBuckets: a reload refills a bucket only when the limit itself
// is another one.
func TestReloadKeepsBuckets(t *testing.T) {
	h := &filtertest.House{}
	build := func(settings string) stream.Service {
		return filtertest.BuildIn(t, h, Definition(), settings, &filtertest.Next{})
	}
	allowed(t, build("{rate: 3/d, key: client}"), 3)
	for settings, want := range map[string]int{
		"{rate: 3/d, key: client}": 0, "{rate: 3/d, burst: 3, key: [client], headers: true}": 0, "{limits: [{rate: 3/d, key: client}], status: 503}": 0,
		"{rate: 4/d, key: client}": 4, "{rate: 3/d, key: client/24}": 3, "{rate: 3/d}": 3,
	} {
		if got := allowed(t, build(settings), 9); got != want {
			t.Errorf("%s: %d allowed, want %d", settings, got, want)
		}
	}
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(when string) {
			moment, err := time.Parse(time.RFC3339, when)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(moment))
		}
		at("2026-03-28T22:00:00Z") // 23:00 in Berlin; the 29th has 23 hours there
		daily := filtertest.Build(t, Definition(), "quota: {amount: 3, per: day, zone: Europe/Berlin}", &filtertest.Next{})
		monthly := filtertest.Build(t, Definition(), "{quota: {amount: 2, per: month}, headers: true}", &filtertest.Next{})
		if got := allowed(t, daily, 9); got != 3 {
			t.Errorf("%d a day, want 3", got)
		}
		if fault, _ := send(t, daily); fault == nil || fault.RetryAfter != time.Hour {
			t.Errorf("%+v, want a wait to the end of the day", fault)
		}
		allowed(t, monthly, 1)
		if _, resp := send(t, monthly); strings.Join(filtertest.Lines(&resp.Header), "|") != "RateLimit-Limit: 2|RateLimit-Remaining: 0|RateLimit-Reset: 266400" {
			t.Errorf("%q", filtertest.Lines(&resp.Header))
		}
		at("2026-03-28T23:00:00Z")
		if got := allowed(t, daily, 9); got != 3 {
			t.Errorf("%d on the next day, want 3", got)
		}
		if fault, _ := send(t, daily); fault == nil || fault.RetryAfter != 23*time.Hour {
			t.Errorf("%+v, want a wait of 23 hours", fault)
		}
		if got := allowed(t, monthly, 1); got != 0 {
			t.Error("the month begins anew with the day")
		}
		at("2026-04-01T00:00:00Z")
		if got := allowed(t, monthly, 9); got != 2 {
			t.Errorf("%d in the next month, want 2", got)
		}
	})
}

func TestOperate(t *testing.T) {
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, Definition(), `limits: [{name: a, rate: 1/d, key: [client, "header:x-a"]}, {name: b, rate: 5/d, key: client/24}]`, &filtertest.Next{})
	if got := allowed(t, s, 3); got != 1 {
		t.Fatalf("%d allowed", got)
	}
	ctx, one, of := context.Background(), "192.0.2.1", "x"
	for _, c := range []struct {
		input whose
		want  int // allowed afterwards
		fails bool
	}{
		{whose{Limit: "a", Key: []*string{&one, &of}}, 0, false},
		{whose{Limit: "a", Key: []*string{&one, nil}}, 1, false},
		{whose{Limit: "a", Key: []*string{&one}}, 0, true},
		{whose{Limit: "c"}, 0, true},
		{whose{Limit: "a"}, 1, false},
		{whose{}, 1, false},
	} {
		_, err := h.Operate(ctx, "reset", c.input)
		if got := allowed(t, s, 2); got != c.want || (err != nil) != c.fails {
			t.Errorf("reset %+v: %d allowed, want %d; %v", c.input, got, c.want, err)
		}
	}
	view := fmt.Sprintf("%+v", h.Shown())
	if !strings.Contains(view, "Limit:a") || !strings.Contains(view, "Keys:1") || strings.Contains(view, one) {
		t.Errorf("shown is %s", view)
	}
}

func TestCheck(t *testing.T) {
	for settings, want := range map[string]string{
		"":                                      "there is no limit",
		"rate: 100":                             "not a rate",
		"{rate: 1/s, quota: {amount: 5}}":       "has both",
		"{rate: 1/s, key: claim/sub}":           "is not known",
		"{rate: 1/s, key: [client, client/99]}": "client/BITS",
		"{rate: 1/s, mode: off}":                "is not known",
		"{rate: 1/s, status: 200}":              "is not known",
		"{rate: 1/s, limits: [{rate: 2/s}]}":    "one beside it",
		"limits: [{name: a, rate: 1/s}, {name: a, rate: 2/s}]": "second limit",
		"limits: [{name: a b, rate: 1/s}]":                     "cannot be a name",
		"limits: [{key: client}]":                              "there is no limit",
		"quota: {amount: 5, zone: Nowhere/City}":               "time zone",
		"quota: {amount: 0}":                                   "less than 1",
		"quota: {amount: 5, per: week}":                        "is not known",
		"{quota: {amount: 5}, burst: 3}":                       "no burst",
		"{rate: 1/d, burst: 1000000000}":                       "70 years",
		"{rate: 1/s, keys: 0}":                                 "less than 1",
	} {
		problems := filtertest.Check(t, Definition(), settings)
		if problems.Errors() == 0 || !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%q: %v, want %q", settings, problems, want)
		}
	}
	for _, settings := range []string{
		`{key: "header:x-tenant", rate: 100/s}`, `{rate: 100/s, burst: 200, key: [client/24, "header:x-tenant"], headers: true, mode: shadow, status: 503}`,
	} {
		if problems := filtertest.Check(t, Definition(), settings); len(problems) > 0 {
			t.Errorf("%s: %v", settings, problems)
		}
	}
}

// TestTunnelsAndConnections: what is no HTTP counts as one event.
func TestConnectionsCount(t *testing.T) {
	s := filtertest.Build(t, Definition(), "{rate: 2/d, key: client}", &filtertest.Next{})
	got := 0
	for range 5 {
		req := filtertest.Request("GET", "http://h/")
		req.Method, req.Proto = "", stream.TCP
		if fault, _ := serve(t, s, req); fault == nil {
			got++
		}
	}
	if got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}
