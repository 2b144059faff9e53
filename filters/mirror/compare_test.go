package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// shown is the one report of the street.
func (s *street) shown(t testing.TB) view {
	t.Helper()
	views, ok := s.house.Shown().([]view)
	if !ok || len(views) != 1 {
		t.Fatalf("shown: %v", s.house.Shown())
	}
	return views[0]
}

func TestCompare(t *testing.T) {
	const jsonBody = "compare: {json: {ignore: [/time, '/items/*/id']}}"
	type side struct {
		status int
		body   string
		fields []string
	}
	doc := func(body string) side { return side{200, body, []string{asJSON}} }
	for _, c := range []struct {
		name, settings  string
		primary, shadow side
		want            string // the outcome, and what differs or why it cannot be compared
	}{
		{"status", "compare: {}", side{status: 200}, side{status: 200, body: "another"}, "equal"},
		{"status differs", "compare: {headers: [x-a], json: {}}", side{200, "", []string{"X-A: 1"}}, side{status: 500}, "different status  value 200 500"},
		{"status is not looked at", "compare: {status: false, headers: [x-a]}", side{status: 200}, side{status: 500}, "equal"},
		{"headers", "compare: {headers: [x-a, x-b]}", side{200, "", []string{"X-A: 1", "X-B: 2", "x-b: 3"}}, side{200, "", []string{"x-a: 1", "x-b: 2, 3", "X-C: 4"}}, "equal"},
		{"header differs", "compare: {headers: [x-a, x-b, x-c]}", side{200, "", []string{"X-A: 1", "X-B: 2"}}, side{200, "", []string{"X-A: 2", "X-C: "}},
			"different header x-a value a value a value|header x-b missing a value nothing|header x-c extra nothing a value"},
		{"JSON", jsonBody, doc(`{"a":1,"time":1,"items":[{"id":1}]}`), doc(`{"items":[{"id":2}],"a":1.0}`), "equal"},
		{"JSON differs", jsonBody, doc(`{"a":1,"items":[{"n":1},{"n":2}]}`), doc(`{"a":"x","items":[{"n":2},{"n":1}]}`), "different body /a type|body /items/*/n value"},
		{"no bodies", jsonBody, doc(""), doc(""), "equal"},
		{"the body is missing", jsonBody, doc("{}"), side{status: 200}, "different body  missing"},
		{"the body is extra", jsonBody, side{status: 200}, doc("{}"), "different body  extra"},
		{"no JSON", jsonBody, side{200, "<p>", []string{"Content-Type: text/html"}}, side{200, "<p>", []string{"Content-Type: text/html"}}, "uncomparable not_json"},
		{"one is no JSON", jsonBody, doc("{}"), side{200, "<p>", []string{"Content-Type: text/html"}}, "different body  type"},
		{"broken JSON", jsonBody, doc("{"), doc("{"), "uncomparable not_json"},
		{"coded", jsonBody, side{200, "zip", []string{asJSON, "Content-Encoding: gzip"}}, doc("{}"), "uncomparable content_coding"},
		{"a header differs in what cannot be compared", "compare: {headers: [x-a], json: {}}", side{200, "zip", []string{asJSON, "Content-Encoding: gzip", "X-A: 1"}}, doc("{}"), "different header x-a missing a value nothing"},
		{"long", "compare: {json: {}, max_body: 4}", doc("[1,2]"), doc("[1]"), "uncomparable body_too_large"},
		{"long at the shadow", "compare: {json: {}, max_body: 4}", doc("[1]"), doc("[1,2]"), "uncomparable body_too_large"},
		{"over budget", "compare: {json: {}}\nbudget: {bytes: 1024, max_body: 1}", doc("[" + strings.Repeat(" ", 2000) + "]"), doc("[]"), "uncomparable over_budget"},
		{"over budget at the shadow", "compare: {json: {}}\nbudget: {bytes: 1024, max_body: 1}", doc("[]"), doc("[" + strings.Repeat(" ", 2000) + "]"), "uncomparable over_budget"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, c.settings)
			s.primary.Answer = filtertest.Answer(c.primary.status, c.primary.body, c.primary.fields...).Answer
			s.shadow.Answer = filtertest.Answer(c.shadow.status, c.shadow.body, c.shadow.fields...).Answer
			if got := s.ask(t, filtertest.Request("GET", "http://h/p")); got != c.primary.body {
				t.Errorf("%s: the client got %q", c.name, got)
			}
			synctest.Wait()
			if got := s.result(t); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
			s.empty(t)
		})
	}
}

// result is what the report has about one pair.
func (s *street) result(t *testing.T) string {
	v := s.shown(t)
	switch {
	case v.Equal == 1 && v.Different == 0 && len(v.Uncomparable) == 0 && s.compared("equal") == 1:
		return "equal"
	case v.Different == 1 && v.Equal == 0 && len(v.Uncomparable) == 0 && s.compared("different") == 1:
		var places []string
		for _, p := range v.Places {
			places = append(places, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", p.Part, p.Place, p.Kind, p.Primary, p.Shadow)))
		}
		if len(v.Recent) < len(places) || v.Recent[0].Path != "/p" || v.Recent[0].ID != "test-1" {
			t.Errorf("recent: %+v", v.Recent)
		}
		return "different " + strings.Join(places, "|")
	case len(v.Uncomparable) == 1 && v.Equal+v.Different == 0 && s.compared("uncomparable") == 1:
		for why := range v.Uncomparable {
			return "uncomparable " + why
		}
	}
	return fmt.Sprintf("%+v", v)
}

// TestHead: there are no bodies to compare.
func TestHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {headers: [content-type], json: {}}")
		answer := func(length int64) func(*stream.Request) (*stream.Response, error) {
			return func(*stream.Request) (*stream.Response, error) {
				return &stream.Response{Status: 200, Header: filtertest.Header(asJSON), Body: stream.NoBody, Length: length}, nil
			}
		}
		s.primary.Answer, s.shadow.Answer = answer(10), answer(20)
		s.ask(t, filtertest.Request("HEAD", "http://h/p"))
		synctest.Wait()
		if got := s.result(t); got != "equal" {
			t.Error(got)
		}
	})
}

// TestNothingIsShown: values stand in no part of the report.
func TestNothingIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {headers: [x-a], json: {}}")
		s.primary.Answer = filtertest.Answer(200, `{"a":"S3CRET","b":4111}`, asJSON, "X-A: S3CRET").Answer
		s.shadow.Answer = filtertest.Answer(200, `{"a":"S3CRET2","b":4112}`, asJSON, "X-A: S3CRET2").Answer
		s.ask(t, filtertest.Request("GET", "http://h/p?token=S3CRET"))
		synctest.Wait()
		text, err := json.Marshal(s.house.Shown())
		if err != nil || strings.Contains(string(text), "S3CRET") || strings.Contains(string(text), "411") || !strings.Contains(string(text), "x-a") {
			t.Errorf("%s, %v", text, err)
		}
	})
}

// gated is a body that waits for its gate.
type gated struct {
	stream.Body
	gate chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	<-g.gate
	return g.Body.Read(p)
}

// TestOrder: whichever answer is complete last, they are compared; the shadow's
// is not kept for ever.
func TestOrder(t *testing.T) {
	const settings = "compare: {json: {}}\ntimeout: 4s"
	slow := func(gate chan struct{}) func(*stream.Request) (*stream.Response, error) {
		return func(*stream.Request) (*stream.Response, error) {
			resp := filtertest.Response(200, "{}", asJSON)
			resp.Body, resp.Length = &gated{resp.Body, gate}, -1
			return resp, nil
		}
	}
	quick := filtertest.Answer(200, "{}", asJSON).Answer
	for _, c := range []struct {
		name         string
		primarySlow  bool
		after        time.Duration
		equal, other int64
	}{
		{"the shadow is slower", false, time.Second, 1, 0},
		{"the primary is slower", true, time.Second, 1, 0},
		{"the primary is too slow", true, 5 * time.Second, 0, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, gate := newStreet(t, settings), make(chan struct{})
			if c.primarySlow {
				s.primary.Answer, s.shadow.Answer = slow(gate), quick
			} else {
				s.primary.Answer, s.shadow.Answer = quick, slow(gate)
			}
			done := make(chan struct{})
			go func() { defer close(done); s.ask(t, filtertest.Request("GET", "http://h/")) }()
			time.Sleep(c.after)
			if c.other == 1 {
				s.empty(t) // nothing is kept for a client that takes its time
			}
			close(gate)
			<-done
			synctest.Wait()
			if s.compared("equal") != c.equal || s.compared("uncomparable") != c.other {
				t.Errorf("%s: %d equal, %d uncomparable", c.name, s.compared("equal"), s.compared("uncomparable"))
			}
			s.empty(t)
		})
	}
}

// TestClientLeaves: half a response is not compared.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {json: {}}")
		s.primary.Answer = filtertest.Answer(200, `{"a":1}`, asJSON).Answer
		s.shadow.Answer = s.primary.Answer
		resp, err := s.mirror.Serve(t.Context(), filtertest.Request("GET", "http://h/"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Read(make([]byte, 3))
		resp.Body.Close()
		resp.Body.Close()
		synctest.Wait()
		if v := s.shown(t); v.Uncomparable["body_incomplete"] != 1 {
			t.Errorf("%+v", v)
		}
		s.empty(t)
	})
}

// TestSample: responses of copies outside of the sample are not looked at.
func TestSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {json: {}, sample: 0}")
		s.ask(t, filtertest.Request("GET", "http://h/"))
		synctest.Wait()
		if v := s.shown(t); v.Equal+v.Different != 0 || s.copies("answered") != 1 {
			t.Errorf("%+v, %d copies", v, s.copies("answered"))
		}
	})
}

// TestReportGoesOn: over reloads, until something else is compared or an
// operator begins anew.
func TestReportGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "compare: {}")
		ask := func() {
			t.Helper()
			s.ask(t, filtertest.Request("GET", "http://h/"))
			synctest.Wait()
		}
		reload := func(settings string) {
			s.mirror = filtertest.BuildIn(t, &s.house, Definition(), settings, s.primary)
		}
		ask()
		reload("to: shadow\nshare: 0.999999\nmethods: [GET, POST]\ncompare: {}")
		ask()
		if v := s.shown(t); v.Equal != 2 {
			t.Errorf("after a reload %+v", v)
		}
		if _, err := s.house.Operate(t.Context(), "reset", nil); err != nil {
			t.Fatal(err)
		}
		if v := s.shown(t); v.Equal != 0 {
			t.Errorf("after reset %+v", v)
		}
		ask()
		reload("to: shadow\ncompare: {headers: [x-a]}")
		if v := s.shown(t); v.Equal != 0 {
			t.Errorf("what is compared has changed: %+v", v)
		}
	})
}

// TestReportIsBounded: places come from content.
func TestReportIsBounded(t *testing.T) {
	r := newReport()
	p := &pair{method: "GET", path: "/p"}
	for i := range 1000 {
		r.differ(p, []difference{{Part: partBody, Place: fmt.Sprintf("/k%d", i), Kind: "value"}, {Part: partBody, Place: "/often", Kind: "value"}})
	}
	v := r.view("shadow")
	if v.Different != 1000 || len(v.Places) != topPlaces || v.Places[0].Place != "/often" || v.Places[0].Count != 1000 || len(v.Recent) != maxRecent {
		t.Errorf("%d different, %d places, the first %+v, %d recent", v.Different, len(v.Places), v.Places[0], len(v.Recent))
	}
	total := v.Others
	for _, p := range v.Places {
		total += p.Count
	}
	if total != 2000 || len(r.places) != maxPlaces {
		t.Errorf("%d counted in %d places", total, len(r.places))
	}
	if r.recent[(r.next+maxRecent-1)%maxRecent].At != v.Recent[0].At {
		t.Error("the newest is not the first")
	}
}

// TestTwoShadows of one route have a report each.
func TestTwoShadows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		house := filtertest.House{Clusters: map[string]stream.Service{"a": &filtertest.Next{}, "b": filtertest.Answer(500, "")}}
		inner := filtertest.BuildIn(t, &house, Definition(), "to: b\ncompare: {}", &filtertest.Next{})
		s := &street{mirror: filtertest.BuildIn(t, &house, Definition(), "to: a\ncompare: {}", inner)}
		s.ask(t, filtertest.Request("GET", "http://h/"))
		synctest.Wait()
		views := house.Shown().([]view)
		if len(views) != 2 || views[0].To != "b" || views[0].Different != 1 || views[1].Equal != 1 {
			t.Errorf("%+v", views)
		}
	})
}

// whole is content in memory, which codecs take without reading.
func TestTeeOfWhole(t *testing.T) {
	var got []byte
	calls := 0
	b := &budget{bytes: 1 << 20}
	body := newTee(stream.BytesBody([]byte("content")), 7, 100, b, func(content stock, why reason) {
		calls++
		got = append([]byte(nil), content.bytes...)
		content.free()
	})
	for range 2 {
		if rest, ok := body.Bytes(); !ok || string(rest) != "content" {
			t.Errorf("%q, %v", rest, ok)
		}
	}
	rest, err := io.ReadAll(body)
	body.Close()
	if string(got) != "content" || string(rest) != "content" || err != nil || calls != 1 || b.held.Load() != 0 {
		t.Errorf("kept %q, read %q, %v, %d calls, %d held", got, rest, err, calls, b.held.Load())
	}
}

// passing is a body with everything that a body may have.
type passing struct {
	stream.Body
	prefetched, awaited int
}

func (p *passing) Bytes() ([]byte, bool)  { return nil, false }
func (p *passing) Prefetch(max int) error { p.prefetched = max; return nil }
func (p *passing) Await() error           { p.awaited++; return io.ErrUnexpectedEOF }
func (p *passing) Announced() string      { return "X-End" }

func TestTeePasses(t *testing.T) {
	inner := &passing{Body: stream.BytesBody([]byte("abc"))}
	ended := none
	body := newTee(inner, -1, 100, &budget{bytes: 1 << 20}, func(content stock, why reason) { ended = why })
	body.Prefetch(7)
	if err := body.Await(); err == nil || inner.prefetched != 7 || inner.awaited != 1 || body.Announced() != "X-End" {
		t.Errorf("%v %+v %q", err, inner, body.Announced())
	}
	if _, ok := body.Bytes(); ok {
		t.Error("the body is not in memory")
	}
	body.Close()
	if ended != bodyIncomplete {
		t.Errorf("ended: %v", ended)
	}
	plain := newTee(&broken{}, -1, 100, &budget{}, func(stock, reason) {})
	if _, ok := plain.Bytes(); ok || plain.Prefetch(1) != nil || plain.Await() != nil || plain.Announced() != "" {
		t.Error("a plain body has more than it has")
	}
}

// TestKnownLength: a codec need not read behind the last byte.
func TestKnownLength(t *testing.T) {
	ended := numReasons
	body := newTee(stream.BytesBody([]byte("abc")), 3, 100, &budget{bytes: 1 << 20}, func(content stock, why reason) { ended = why })
	io.ReadFull(body, make([]byte, 3))
	if ended != none {
		t.Errorf("ended: %v", ended)
	}
}

// TestUploadOutlivesAnswer: the upstream answers before it has the request,
// which another goroutine goes on sending.
func TestUploadOutlivesAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "methods: [POST]")
		sent := make(chan struct{})
		s.mirror.(*service).next = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			go func() {
				defer close(sent)
				io.Copy(io.Discard, req.Body)
				req.Body.Close()
			}()
			return filtertest.Response(200, "early"), nil
		})
		gate := make(chan struct{})
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content")
		req.Body = &gated{req.Body, gate}
		if got := s.ask(t, req); got != "early" {
			t.Errorf("got %q", got)
		}
		synctest.Wait()
		if len(s.shadow.Got) != 0 {
			t.Error("the copy was sent before its body was there")
		}
		close(gate)
		<-sent
		synctest.Wait()
		if len(s.shadow.Got) != 1 || s.shadow.Got[0].Body != "content" {
			t.Errorf("%+v", s.shadow.Got)
		}
	})
}
