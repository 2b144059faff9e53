package fault

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

const plain = "{abort: {share: 0.5, status: 503}, stop: {after: 30m}}"

// The drill ends, whatever reloads come between, and begins anew with other
// settings.
func TestDrillEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, plain, always())
		want := func(when string, status int) {
			t.Helper()
			if out := b.get(); out.status != status {
				t.Errorf("%s: %d, want %d", when, out.status, status)
			}
		}
		want("at the beginning", 503)
		time.Sleep(20 * time.Minute)
		b.load(plain, always())
		want("behind a reload", 503)
		time.Sleep(10*time.Minute - time.Nanosecond)
		want("just before the end", 503)
		time.Sleep(time.Nanosecond)
		want("at the end", 200)
		b.load(plain, always())
		want("behind a reload after the end", 200)
		b.load("{abort: {share: 0.4, status: 503}, stop: {after: 30m}}", always())
		want("with other settings", 503)
	})
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
		for _, c := range []struct {
			when, after string
			begin, end  time.Duration
		}{
			{"", "30m", 0, 30 * time.Minute},
			{"from: 2000-01-01T01:00:00Z", "30m", time.Hour, 90 * time.Minute},
			{"from: 1999-01-01T01:00:00Z", "30m", 0, 30 * time.Minute},
			{"until: 2000-01-01T00:10:00Z", "30m", 0, 10 * time.Minute},
			{"until: 2000-01-01T02:00:00+01:00", "30m", 0, 30 * time.Minute},
			{"from: 2000-01-01T01:00:00Z, until: 2000-01-01T01:05:00Z", "30m", time.Hour, 65 * time.Minute},
			{"until: 1999-01-01T00:10:00Z", "30m", 0, -1},
		} {
			now := time.Now()
			b := newBench(t, "{abort: {share: 0.1, reset: true}, when: {"+c.when+"}, stop: {after: "+c.after+"}}", always())
			for at, want := range map[time.Duration]bool{
				c.begin - 1: false, c.begin: c.end > c.begin, c.end - 1: c.end > c.begin, c.end: false,
			} {
				if got := b.drill.runs(now.Add(at)); got != want {
					t.Errorf("%s: at %v it runs: %v", c.when, at, got)
				}
			}
		}
	})
}

// However the dice fall, no more than the share meets a fault.
func TestMaxShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "{abort: {share: 0.1, status: 503}, stop: {max_share: 0.25}}", always())
		failed := func(n int) (failed int) {
			for range n {
				if b.get().status == 503 {
					failed++
				}
			}
			return failed
		}
		if n := failed(10); n != free {
			t.Errorf("%d of the first ten failed, want all", n)
		}
		if n := failed(190); n != 40 {
			t.Errorf("%d of 200 failed, want 50", n+free)
		}
		b.counted(`weir_fault_refused_total{bound="max_share"}`, 150)
		time.Sleep(span)
		if seen, hits := b.drill.window.measured(time.Now()); seen != 0 || hits != 0 {
			t.Errorf("a minute later the window has %d of %d", hits, seen)
		}
		if n := failed(1); n != 1 {
			t.Error("a minute later none is free")
		}
	})
}

func TestWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		for range 24 { // two minutes
			now := time.Now()
			for range 10 {
				w.see(now)
			}
			w.take(now, 1)
			time.Sleep(span / slots)
		}
		// The slot that has just begun is empty.
		if seen, hits := w.measured(time.Now()); seen != 110 || hits != 11 {
			t.Errorf("%d of %d, want 11 of 110", hits, seen)
		}
	})
}

func TestMaxActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "{delay: {share: 0.5, fixed: 1s}, stop: {max_active: 2}}", always())
		b.service.next = filtertestAnswer{}
		took := make(chan time.Duration, 3)
		for range 3 {
			go func() {
				begin := time.Now()
				resp, err := b.Serve(context.Background(), filtertest.Request("GET", "http://h/"))
				if err != nil {
					t.Error(err)
				} else {
					resp.Body.Close()
				}
				took <- time.Since(begin)
			}()
		}
		if first := <-took; first != 0 {
			t.Errorf("the third waits %v", first)
		}
		if second, third := <-took, <-took; second != time.Second || third != time.Second {
			t.Errorf("the others wait %v and %v", second, third)
		}
		b.counted(`weir_fault_refused_total{bound="max_active"}`, 1)
	})
}

// filtertestAnswer answers, also several at a time.
type filtertestAnswer struct{}

func (filtertestAnswer) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	req.Body.Close()
	return filtertest.Response(200, "ok"), nil
}

// In shadow nothing happens, and everything is counted as if it did.
func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "{mode: shadow, delay: {share: 0.2, fixed: 1s}, abort: {share: 0.2, status: 503}, stop: {max_share: 0.4}}", always())
		begin := time.Now()
		for range 30 {
			if out := b.get(); out.status != 200 || !out.sent || out.header.Len() != 0 {
				t.Fatalf("%+v", out)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
		b.counted(`weir_fault_shadowed_total{kind="delay"}`, 12)
		b.counted(`weir_fault_shadowed_total{kind="status"}`, 12)
		b.counted(`weir_fault_refused_total{bound="max_share"}`, 18)
		b.counted(injectedBy("status"), -1)
	})
}

func TestWhen(t *testing.T) {
	for _, c := range []struct {
		when   string
		fields []string
		client string
		want   bool
	}{
		{"headers: [{name: X-A}]", nil, "192.0.2.1", false},
		{"headers: [{name: X-A}]", []string{"x-a:"}, "192.0.2.1", true},
		{"headers: [{name: X-A, exact: b}]", []string{"X-A: b"}, "192.0.2.1", true},
		{"headers: [{name: X-A, exact: b}]", []string{"X-A: b", "X-A: c"}, "192.0.2.1", false},
		{"headers: [{name: X-A, exact: 'b, c'}]", []string{"X-A: b", "X-A: c"}, "192.0.2.1", true},
		{"headers: [{name: X-A, exact: b, not: true}]", nil, "192.0.2.1", true},
		{"headers: [{name: X-A, prefix: b}]", []string{"X-A: bc"}, "192.0.2.1", true},
		{"headers: [{name: X-A, regex: 'b|c'}]", []string{"X-A: bc"}, "192.0.2.1", false},
		{"headers: [{name: X-A, regex: 'b|c'}]", []string{"X-A: c"}, "192.0.2.1", true},
		{"headers: [{name: X-A, absent: true}]", nil, "192.0.2.1", true},
		{"headers: [{name: X-A, absent: true}]", []string{"X-A: c"}, "192.0.2.1", false},
		{"headers: [{name: X-A}, {name: X-B}]", []string{"X-A: c"}, "192.0.2.1", false},
		{"clients: [192.0.2.0/24]", nil, "192.0.2.1", true},
		{"clients: [198.51.100.0/24, 192.0.2.1]", nil, "192.0.2.1", true},
		{"clients: [192.0.2.2]", nil, "192.0.2.1", false},
		{"clients: ['::ffff:192.0.2.0/120']", nil, "192.0.2.1", true},
		{"clients: ['::ffff:192.0.2.1']", nil, "192.0.2.1", true},
		{"clients: [192.0.2.0/24]", nil, "::ffff:192.0.2.1", true},
		{"clients: ['2001:db8::/32']", nil, "2001:db8::1", true},
		{"clients: [192.0.2.0/24], headers: [{name: X-A}]", nil, "192.0.2.1", false},
	} {
		b := newBench(t, "{abort: {share: 0.1, status: 503}, when: {"+c.when+"}}", always())
		req := filtertest.Request("GET", "http://h/", c.fields...)
		req.Client = netip.MustParseAddr(c.client)
		if got := b.ask(context.Background(), req).status == 503; got != c.want {
			t.Errorf("%s: %q from %s: %v", c.when, c.fields, c.client, got)
		}
		if seen, _ := b.drill.window.measured(time.Now()); (seen == 1) != c.want {
			t.Errorf("%s: %d requests counted", c.when, seen)
		}
	}
}

// An operator sees every drill of the route and stops all of them; they stay
// stopped over reloads.
func TestOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, plain, always())
		b.load(plain, always()) // a reload is no other drill
		first := b.drill
		b.get()
		b.load("{abort: {share: 0.5, status: 500}, when: {from: 2000-01-01T01:00:00Z}, stop: {after: 30m}}", always()) // a second filter
		views := b.house.Shown().([]View)
		if len(views) != 2 || views[0].State != "running" || views[0].Requests != 1 || views[0].Faults != 1 || views[0].Share != 1 ||
			!views[0].Ends.Equal(views[0].Since.Add(30*time.Minute)) || views[1].State != "waiting" {
			t.Fatalf("%+v", views)
		}
		done, err := b.house.Operate(context.Background(), "stop", nil)
		if views = done.([]View); err != nil || len(views) != 2 || views[0].State != "stopped" || views[1].State != "stopped" {
			t.Errorf("stop: %+v, %v", views, err)
		}
		b.load(plain, always())
		if b.drill != first || b.get().status != 200 {
			t.Error("a reload has started it again")
		}
		if _, err := b.house.Operate(context.Background(), "start", nil); err == nil {
			t.Error("there is a way to start")
		}
		b.load("{abort: {share: 0.1, status: 503}, stop: {after: 30m}}", always())
		if b.get().status != 503 {
			t.Error("other settings do not start it")
		}
		time.Sleep(time.Hour)
		if views = b.house.Shown().([]View); views[len(views)-1].State != "ended" {
			t.Errorf("%+v", views)
		}
	})
}

// The roster forgets the drills of generations that are gone.
func TestRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r roster
		one, two := new(drill), new(drill)
		first, end := context.WithCancel(context.Background())
		second, endSecond := context.WithCancel(context.Background())
		defer endSecond()
		r.enter(first, one)
		r.enter(first, two)
		r.enter(second, one)
		end()
		synctest.Wait()
		if all := r.each(); len(all) != 1 || all[0] != one {
			t.Errorf("%d drills, want the one that goes on", len(all))
		}
	})
}

func TestContract(t *testing.T) {
	for _, settings := range []string{
		"abort: {share: 0.5, status: 503}", "abort: {share: 0.5, reset: true}", "abort: {share: 0.5, half_close: true}",
		"abort: {share: 0.5, grpc: internal}", "mode: shadow\nabort: {share: 0.5, status: 503}",
	} {
		for range 20 {
			filtertest.Run(t, Definition(), settings, filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content"), nil)
		}
	}
}

func prepared(t testing.TB) (run func()) {
	resp := filtertest.Response(200, "")
	b := newBench(t, `{delay: {share: 0.1, fixed: 1s}, abort: {share: 0.1, status: 503}, header: X-Fault,
		when: {headers: [{name: User-Agent, regex: "c.*"}], clients: [192.0.2.0/24]}}`, never())
	b.service.next = stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
	req := filtertest.Request("GET", "http://h/", "User-Agent: curl", "Accept: */*", "X-Other: a")
	return func() {
		if _, err := b.Serve(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAllocs(t *testing.T) {
	run := prepared(t)
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkServe(b *testing.B) {
	run := prepared(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
