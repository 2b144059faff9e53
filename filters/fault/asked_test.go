package fault

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestParseWish(t *testing.T) {
	for text, want := range map[string]wish{
		"none": {}, " none\t": {}, "delay": {delay: true}, "abort": {abort: true},
		"delay,abort": {delay: true, abort: true}, "abort , delay=1m30s": {delay: true, abort: true, pause: 90 * time.Second},
		"delay=250ms": {delay: true, pause: 250 * time.Millisecond},
	} {
		if got, ok := parseWish(text); !ok || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", ",", "delay,", "none,delay", "delay,delay", "abort,abort", "Delay", "delay=", "delay=5", "delay=-1s", "delay=0s", "delay = 1s",
		"abort=503", "delay,x", "delay=1s,delay", "delay=1.0000000000000000000000000001s",
	} {
		if got, ok := parseWish(text); ok || got != (wish{}) {
			t.Errorf("%q: %+v, %v, want no wish", text, got, ok)
		}
	}
}

func FuzzParseWish(f *testing.F) {
	for _, seed := range []string{"none", "delay", "abort,delay=250ms", "delay=1d", ",", "delay=1h1h", "delay=2540400h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, ok := parseWish(text)
		switch {
		case !ok && w != (wish{}), w.pause < 0, w.pause > 0 && !w.delay:
			t.Errorf("%q: %+v, %v", text, w, ok)
		}
	})
}

// A request that may choose gets what it asks for, within the bounds of the
// document; others are drawn.
func TestHeader(t *testing.T) {
	for _, c := range []struct {
		value  string
		want   time.Duration
		status int
	}{
		{"delay", 200 * time.Millisecond, 200},
		{"delay=700ms", 700 * time.Millisecond, 200},
		{"delay=1h", time.Second, 200},
		{"abort", 0, 503},
		{"delay=300ms, abort", 300 * time.Millisecond, 503},
		{"none", 0, 200},
		{"abort=500", 0, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, "{delay: {fixed: 200ms, max: 1s}, abort: {status: 503}, header: X-Fault, when: {headers: [{name: X-Test}]}}", always())
			begin := time.Now()
			out := b.get("X-Test: 1", "X-Fault: "+c.value)
			if took := time.Since(begin); took != c.want || out.status != c.status {
				t.Errorf("%q: %v, %d, want %v, %d", c.value, took, out.status, c.want, c.status)
			}
			if out.sent {
				if value, _ := b.next.Got[0].Header.Get("X-Fault"); value != c.value {
					t.Errorf("%q: the service sees %q", c.value, value)
				}
			}
			if out := b.get("X-Fault: abort"); out.status != 200 {
				t.Errorf("the conditions do not hold, and %d", out.status)
			}
		})
	}
	// Without the setting the field means nothing.
	if out := newBench(t, "abort: {share: 0.1, status: 503}", never()).get("X-Fault: abort"); out.status != 200 {
		t.Errorf("a field that was not allowed: %d", out.status)
	}
	// One who asks for nothing is not drawn.
	if out := newBench(t, "{abort: {share: 0.1, status: 503}, header: X-Fault}", always()).get("X-Fault: none"); out.status != 200 {
		t.Errorf("none: %d", out.status)
	}
	if out := newBench(t, "{abort: {share: 0.1, status: 503}, header: X-Fault}", always()).get("X-Fault: what"); out.status != 503 {
		t.Errorf("a word that is not known: %d, want it drawn", out.status)
	}
}
