package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// street is a route with a mirror: the filter, what is behind it, and the shadow.
type street struct {
	house   filtertest.House
	primary *filtertest.Next
	shadow  *filtertest.Next
	mirror  stream.Service
}

// newStreet is called in a bubble of synctest: the shadow is looked at when
// every goroutine waits.
func newStreet(t testing.TB, settings string) *street {
	t.Helper()
	s := &street{primary: &filtertest.Next{}, shadow: &filtertest.Next{}}
	s.house.Clusters = map[string]stream.Service{"shadow": s.shadow}
	s.mirror = filtertest.BuildIn(t, &s.house, Definition(), "to: shadow\n"+settings, s.primary)
	return s
}

// ask sends a request through the mirror, as the codec would, and is the body
// of the response.
func (s *street) ask(t testing.TB, req *stream.Request) string {
	t.Helper()
	resp, err := s.mirror.Serve(t.Context(), req)
	if err != nil {
		t.Fatalf("the primary has the fault %v", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (s *street) copies(outcome string) int64 {
	return s.house.Counted(fmt.Sprintf("weir_mirror_copies_total{cluster=%q,outcome=%q}", "shadow", outcome))
}

func (s *street) uncopied(reason string) int64 {
	return s.house.Counted(fmt.Sprintf("weir_mirror_uncopied_total{cluster=%q,reason=%q}", "shadow", reason))
}

func (s *street) compared(outcome string) int64 {
	return s.house.Counted(fmt.Sprintf("weir_mirror_comparisons_total{cluster=%q,outcome=%q}", "shadow", outcome))
}

// empty wants the budget given back, in whole.
func (s *street) empty(t testing.TB) {
	t.Helper()
	for _, name := range []string{"weir_mirror_copies", "weir_mirror_bytes"} {
		if n, _ := s.house.Gauged(name + `{cluster="shadow"}`); n != 0 {
			t.Errorf("%s is %v in the end", name, n)
		}
	}
}

const asJSON = "Content-Type: application/json"

// TestCopies: what the shadow gets, and that the primary gets what came.
func TestCopies(t *testing.T) {
	for _, c := range []struct {
		name, settings      string
		method, url         string
		fields              []string
		body                string
		wantURI, wantFields string // of the copy; "|" between its fields, without the mark
		wantBody            string
	}{
		{"allow-list", "", "GET", "http://h:81/a?b=c", []string{"Accept: a", "X-Other: b", "user-agent: c", "X-Forwarded-For: 192.0.2.1"}, "",
			"h:81/a?b=c", "Accept: a|user-agent: c", ""},
		{"credentials are not in the list", "", "GET", "http://h/", []string{"Authorization: S", "Cookie: S", "X-Api-Key: S", "Proxy-Authorization: S"}, "", "h/", "", ""},
		{"nor in a star", "headers: {allow: ['*']}", "GET", "http://h/",
			[]string{"Authorization: S", "Cookie: S", "x_api_key: S", "X-API-Key: S", "X-Auth-Token: S", "X-Forwarded-Client-Cert: S", "X-Own: a"}, "", "h/", "X-Own: a", ""},
		{"unless named", "headers: {allow: [authorization, 'x-*']}", "GET", "http://h/", []string{"Authorization: S", "Cookie: S", "X-Own: a", "Accept: b"}, "", "h/",
			"Authorization: S|X-Own: a", ""},
		{"removed", "headers: {allow: ['*'], remove: [x-own, 'x-secret-*']}", "GET", "http://h/", []string{"X_Own: a", "X-Own: b", "X-Secret-A: c", "X-C: d"}, "", "h/", "X-C: d", ""},
		{"set", "headers: {set: [{name: X-Env, value: shadow}, {name: Accept, value: x}]}", "GET", "http://h/", []string{"Accept: a", "X-Env: b"}, "", "h/", "X-Env: shadow|Accept: x", ""},
		{"host", "host: 'shadow.test:99'", "GET", "http://h/", nil, "", "shadow.test:99/", "", ""},
		{"query", "redact: {query: [token]}", "GET", "http://h/?a=1&t%6Fken=S&b=2", nil, "", "h/?a=1&t%6Fken=[redacted]&b=2", "", ""},
		{"body", "methods: [POST]", "POST", "http://h/", []string{asJSON}, `{"a":1}`, "h/", asJSON, `{"a":1}`},
		{"redacted", "methods: [POST]\nheaders: {allow: ['*']}\nredact: {json: [/card/number]}", "POST", "http://h/", []string{asJSON, "Content-Digest: x", "digest: x"}, `{"card":{"number":"S","x":1}}`, "h/",
			asJSON, `{"card":{"number":"[redacted]","x":1}}`},
		{"a redacted form", "methods: [POST]\nredact: {form: [card]}", "POST", "http://h/", []string{"Content-Type: application/x-www-form-urlencoded; charset=utf-8"}, "a=1&card=S", "h/",
			"Content-Type: application/x-www-form-urlencoded; charset=utf-8", "a=1&card=[redacted]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, c.settings)
			req := filtertest.WithBody(filtertest.Request(c.method, c.url, c.fields...), c.body)
			s.ask(t, req)
			synctest.Wait()
			if got := s.primary.Got[0]; got.Body != c.body || got.Header.Len() != len(c.fields) {
				t.Errorf("%s: the primary got %q with %q", c.name, got.Body, filtertest.Lines(&got.Header))
			}
			if len(s.shadow.Got) != 1 {
				t.Fatalf("%s: %d copies", c.name, len(s.shadow.Got))
			}
			got := s.shadow.Got[0]
			fields := filtertest.Lines(&got.Header)
			marked := slices.Index(fields, "Weir-Mirror: 1")
			if marked < 0 {
				t.Fatalf("%s: the copy has no mark: %q", c.name, fields)
			}
			fields = slices.Delete(fields, marked, marked+1)
			uri := got.Target.Authority() + got.Target.RequestURI()
			if uri != c.wantURI || strings.Join(fields, "|") != c.wantFields || got.Body != c.wantBody || got.Method != c.method {
				t.Errorf("%s: the shadow got %s %s %q with %q, want %s %q with %q", c.name, got.Method, uri, got.Body, fields, c.wantURI, c.wantBody, c.wantFields)
			}
			if s.copies("answered") != 1 {
				t.Errorf("%s: %d copies answered", c.name, s.copies("answered"))
			}
			s.empty(t)
		})
	}
}

func TestUncopied(t *testing.T) {
	post := "methods: [POST, GET]\n"
	for _, c := range []struct {
		reason, settings string
		change           func(*stream.Request)
	}{
		{"method", "", func(r *stream.Request) { r.Method = "POST" }},
		{"method", "", func(r *stream.Request) { r.Method = "get" }},
		{"upgrade", "", func(r *stream.Request) { r.Upgrade = "websocket" }},
		{"connect", post, func(r *stream.Request) { r.Method = "CONNECT" }},
		{"method", "", func(r *stream.Request) { r.Method, r.GRPC = "POST", stream.GRPCCall }},
		{"grpc_web", post, func(r *stream.Request) { r.Method, r.GRPC = "POST", stream.GRPCWeb }},
		{"marked", "", func(r *stream.Request) { r.Header.Add("weir-mirror", "anything") }},
		{"body_too_large", post + "budget: {max_body: 4}", func(r *stream.Request) { filtertest.WithBody(r, "12345") }},
		{"body_too_large", post + "budget: {max_body: 4}", func(r *stream.Request) { filtertest.WithBody(r, "12345").Length = -1 }},
		{"over_bytes", post + "budget: {bytes: 1024, max_body: 1024}", func(r *stream.Request) {
			filtertest.WithBody(r, strings.Repeat("x", 1000))
			r.Header.Add("X-Fill", "1")
		}},
		{"body_incomplete", post, func(r *stream.Request) { r.Body, r.Length = &broken{content: "ab"}, 5 }},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) {
			filtertest.WithBody(r, `{"a":"S"`).Header.Add("Content-Type", "application/json")
		}},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) {
			filtertest.WithBody(r, `{"a":"S"}{}`).Header.Add("Content-Type", "application/json")
		}},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) { filtertest.WithBody(r, `{"a":"S"}`) }},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) { filtertest.WithBody(r, `{"a":"S"}`).Header.Add("Content-Type", "text/plain") }},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) {
			filtertest.WithBody(r, `a=S`).Header.Add("Content-Type", "application/x-www-form-urlencoded")
		}},
		{"unredactable", post + "redact: {form: [a]}", func(r *stream.Request) {
			filtertest.WithBody(r, `zipped`).Header.Add("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Add("Content-Encoding", "gzip")
		}},
		{"unredactable", post + "redact: {json: [/a]}", func(r *stream.Request) {
			filtertest.WithBody(r, `{"a":"S"}`).Header.Add("Content-Type", "application/json")
			r.Header.Add("Content-Type", "text/plain")
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, c.settings)
			if c.reason == "over_bytes" { // something else is kept meanwhile
				s.mirror.(*service).budget.take(100)
				defer s.mirror.(*service).budget.give(100)
			}
			req := filtertest.Request("GET", "http://h/")
			c.change(req)
			resp, err := s.mirror.Serve(t.Context(), req)
			if err != nil || resp.Status != 200 {
				t.Errorf("%s: the primary answered %v, %v", c.reason, resp, err)
			}
			synctest.Wait()
			if n := s.uncopied(c.reason); n != 1 || len(s.shadow.Got) != 0 {
				t.Errorf("%s: counted %d, %d copies", c.reason, n, len(s.shadow.Got))
			}
			if len(s.primary.Got) != 1 {
				t.Errorf("%s: the primary got %d requests", c.reason, len(s.primary.Got))
			}
		})
	}
}

// broken is a body that breaks off.
type broken struct {
	content string
	stream.Body
}

func (b *broken) Read(p []byte) (int, error) {
	n := copy(p, b.content)
	if b.content = b.content[n:]; n > 0 {
		return n, nil
	}
	return 0, &stream.Fault{Kind: stream.ClientGone}
}
func (b *broken) Close() error            { return nil }
func (b *broken) Trailer() *stream.Header { return nil }

// TestOtherTraffic: what is no HTTP passes, uncounted.
func TestOtherTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "")
		for _, proto := range []stream.Proto{stream.TCP, stream.UDP, stream.Framed} {
			req := filtertest.Request("GET", "http://h/")
			req.Proto = proto
			s.ask(t, req)
		}
		synctest.Wait()
		if len(s.shadow.Got) != 0 || len(s.primary.Got) != 3 {
			t.Errorf("%d copies of %d", len(s.shadow.Got), len(s.primary.Got))
		}
	})
}

// TestSlowShadow: a shadow that never answers costs the primary nothing, and
// its own place no longer than the timeout.
func TestSlowShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, entered := &street{primary: &filtertest.Next{}}, 0
		s.house.Clusters = map[string]stream.Service{"shadow": stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			entered++
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.ClientGone}
		})}
		s.mirror = filtertest.BuildIn(t, &s.house, Definition(), "to: shadow\ntimeout: 3s\nbudget: {concurrent: 1}\ncompare: {json: {}}", s.primary)
		start := time.Now()
		for range 100 {
			if got := s.ask(t, filtertest.Request("GET", "http://h/")); got != "ok" {
				t.Fatalf("the primary answered %q", got)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the primary waited %v for the shadow", waited)
		}
		synctest.Wait()
		if entered != 1 || s.uncopied("over_concurrent") != 99 {
			t.Errorf("%d copies under way, %d dropped", entered, s.uncopied("over_concurrent"))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s.copies("timeout") != 1 || s.compared("uncomparable") != 1 {
			t.Errorf("%d copies timed out, %d uncomparable", s.copies("timeout"), s.compared("uncomparable"))
		}
		s.empty(t)
	})
}

// TestShadowFails: nothing of it reaches the client.
func TestShadowFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {json: {}}")
		s.primary.Answer = filtertest.Answer(200, "{}", asJSON).Answer
		s.shadow.Answer = func(*stream.Request) (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.ConnectRefused}
		}
		s.ask(t, filtertest.Request("GET", "http://h/"))
		synctest.Wait()
		s.shadow.Answer = func(*stream.Request) (*stream.Response, error) {
			resp := filtertest.Response(200, "", asJSON)
			resp.Body, resp.Length = &broken{content: "ab"}, 5
			return resp, nil
		}
		s.ask(t, filtertest.Request("GET", "http://h/"))
		synctest.Wait()
		if s.copies("failed") != 2 || s.compared("uncomparable") != 2 {
			t.Errorf("%d failed, %d uncomparable", s.copies("failed"), s.compared("uncomparable"))
		}
		s.empty(t)
	})
}

// TestRebuilt: copies end with their generation.
func TestRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var house filtertest.House
		house.Clusters = map[string]stream.Service{"shadow": stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.ClientGone}
		})}
		env := house.Env(t)
		ctx, cancel := context.WithCancel(env.Context)
		env.Context = ctx
		settings, _ := filtertest.Decode(t, Definition(), "to: shadow")
		m, err := Definition().Build(settings, env, &filtertest.Next{})
		if err != nil {
			t.Fatal(err)
		}
		s := &street{mirror: m}
		s.ask(t, filtertest.Request("GET", "http://h/"))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if n := house.Counted(`weir_mirror_copies_total{cluster="shadow",outcome="ended"}`); n != 1 {
			t.Errorf("%d ended", n)
		}
	})
}

// TestPrimaryPanics: what was kept for the copy is given back.
func TestPrimaryPanics(t *testing.T) {
	for before, reason := range map[int]string{0: "body_incomplete", 3: "body_incomplete", 7: "no_answer"} { // bytes of the body that are read
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, "methods: [POST]\ncompare: {json: {}}")
			s.mirror.(*service).next = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				io.ReadFull(req.Body, make([]byte, before))
				panic("next")
			})
			func() {
				defer func() { recover() }()
				s.mirror.Serve(t.Context(), filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content"))
				t.Error("the panic is lost")
			}()
			synctest.Wait()
			if s.uncopied(reason) != 1 || s.compared("uncomparable") != 1 {
				t.Errorf("%d read: %s %d, %d uncomparable", before, reason, s.uncopied(reason), s.compared("uncomparable"))
			}
			s.empty(t)
		})
	}
}

// TestFaultPasses: the fault of the primary is what the client gets.
func TestFaultPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {json: {}}")
		s.shadow.Answer = filtertest.Answer(200, "{}", asJSON).Answer
		fault := &stream.Fault{Kind: stream.NoEndpoint}
		s.primary.Answer = func(*stream.Request) (*stream.Response, error) { return nil, fault }
		if resp, err := s.mirror.Serve(t.Context(), filtertest.Request("GET", "http://h/")); resp != nil || !errors.Is(err, fault) {
			t.Errorf("%v, %v", resp, err)
		}
		synctest.Wait()
		if s.copies("answered") != 1 || s.compared("uncomparable") != 1 {
			t.Errorf("%d answered, %d uncomparable", s.copies("answered"), s.compared("uncomparable"))
		}
		s.empty(t)
	})
}

// TestRewritten: the shadow gets the path that the primary got.
func TestRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "")
		s.mirror.(*service).next = stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			req.Target = req.Target.WithPath("/v2/a")
			return s.primary.Serve(ctx, req)
		})
		s.ask(t, filtertest.Request("GET", "http://h/a?b"))
		synctest.Wait()
		if got := s.shadow.Got[0].Target.RequestURI(); got != "/v2/a?b" {
			t.Errorf("the shadow got %s", got)
		}
	})
}

func TestContract(t *testing.T) {
	req := filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content")
	out := filtertest.Run(t, Definition(), "{to: shadow, methods: [POST], compare: {json: {}}}", req, filtertest.Answer(200, `{"a":1}`, asJSON))
	if out.Body != `{"a":1}` || out.Sent.Body != "content" || out.Status != 200 {
		t.Errorf("%+v", out)
	}
}

func TestShare(t *testing.T) {
	requests := func(n int, part float64, key, salt string) (picked []bool) {
		s, err := newShare(part, key, salt)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			picked = append(picked, s.picks(filtertest.Request("GET", "http://h/", fmt.Sprintf("X-User: %d", i))))
		}
		return picked
	}
	count := func(picked []bool) (n int) {
		for _, p := range picked {
			if p {
				n++
			}
		}
		return n
	}
	const n = 10000
	small, again, large, other := requests(n, 0.1, "header:x-user", "r"), requests(n, 0.1, "header:x-user", "r"), requests(n, 0.2, "header:x-user", "r"), requests(n, 0.1, "header:x-user", "q")
	if !slices.Equal(small, again) {
		t.Error("a key is in the share once and out of it once")
	}
	both := 0
	for i := range n {
		if small[i] && !large[i] {
			t.Fatal("a larger share lost a key")
		}
		if small[i] && other[i] {
			both++
		}
	}
	for what, c := range map[string][2]int{
		"keys": {count(small), n / 10}, "drawn": {count(requests(n, 0.1, "", "r")), n / 10}, "without the key": {count(requests(n, 0.1, "header:x-none", "r")), n / 10},
		"in the shares of two routes": {both, n / 100},
	} {
		if got, want := c[0], c[1]; got < want*7/10 || got > want*13/10 {
			t.Errorf("%s: %d of %d, want about %d", what, got, n, want)
		}
	}
	if count(requests(n, 1, "", "r")) != n || count(requests(n, 0, "header:x-user", "r")) != 0 {
		t.Error("1 is not all, or 0 not none")
	}
}

// TestAllocs: a request that is not copied costs nothing.
func TestAllocs(t *testing.T) {
	next := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return nil, nil })
	for settings, req := range map[string]*stream.Request{
		"share: 0":                       filtertest.Request("GET", "http://h/", "X-User: a"),
		"share: 0.0000001\nkey: client":  filtertest.Request("GET", "http://h/", "X-User: a"),
		"methods: [GET]\ncompare: {}":    filtertest.Request("POST", "http://h/", "X-User: a"),
		"share: 0\nkey: 'header:x-user'": filtertest.Request("GET", "http://h/", "X-User: a"),
	} {
		m := filtertest.Build(t, Definition(), "to: shadow\n"+settings, next)
		if n := testing.AllocsPerRun(1000, func() { m.Serve(context.Background(), req) }); n != 0 {
			t.Errorf("%q: %v allocations", settings, n)
		}
	}
}
