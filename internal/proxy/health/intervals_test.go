package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
)

// gap waits for the next check and returns how long that took.
func (b *bench) gap() time.Duration {
	start := time.Now()
	for n := b.checks.Load(); b.checks.Load() == n; {
		time.Sleep(100 * time.Millisecond)
	}
	synctest.Wait()
	return time.Since(start)
}

func (b *bench) wantGap(t *testing.T, what string, want time.Duration) {
	t.Helper()
	if got := b.gap(); got < want*85/100 || got > want*115/100 {
		t.Errorf("%s: the next check came after %v, want about %v", what, got, want)
	}
}

// TestIntervals: each state of an endpoint has its own.
func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spec()
		cfg.UnhealthyInterval, cfg.EdgeInterval = config.Duration(60*time.Second), config.Duration(time.Second)
		b := run(t, cfg, endpoints(1), func(*endpoint.Endpoint) (string, error) { return ok, nil })
		synctest.Wait()
		b.wantGap(t, "fit", 10*time.Second)
		b.say("HTTP/1.1 503 Busy\r\n\r\n")
		b.wantGap(t, "fit, the next will fail", 10*time.Second)
		b.wantGap(t, "one failure", time.Second)
		b.wantGap(t, "two failures", time.Second)
		if len(b.told()) != 1 {
			t.Fatalf("three failures do not make it unfit: %q", b.told())
		}
		b.wantGap(t, "unfit", 60*time.Second)
		b.say(ok)
		b.wantGap(t, "unfit, the next will succeed", 60*time.Second)
		b.wantGap(t, "one success", time.Second)
		if len(b.told()) != 2 {
			t.Fatalf("two successes do not make it fit: %q", b.told())
		}
		b.wantGap(t, "fit again", 10*time.Second)
	})
}

// TestOneIntervalForAll is the quiet side: without the others, the state does not
// matter.
func TestOneIntervalForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, spec(), endpoints(1), func(*endpoint.Endpoint) (string, error) { return ok, nil })
		synctest.Wait()
		b.say("HTTP/1.1 503 Busy\r\n\r\n")
		for range 8 {
			b.wantGap(t, "whatever the state", 10*time.Second)
		}
	})
}

// TestIdleInterval: a cluster that nobody uses is asked less often, and as usual
// within an interval of the first request.
func TestIdleInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spec()
		cfg.IdleInterval = config.Duration(10 * time.Minute)
		list := endpoints(1)
		b := run(t, cfg, list, func(*endpoint.Endpoint) (string, error) { return ok, nil })
		synctest.Wait()
		time.Sleep(25 * time.Second) // what is idle shows after an interval
		before := b.checks.Load()
		time.Sleep(5 * time.Minute)
		if got := b.checks.Load(); got != before {
			t.Errorf("%d checks in five minutes in which nobody came", got-before)
		}
		list[0].Began()
		if got := b.gap(); got > 21*time.Second {
			t.Errorf("after the first request the next check came after %v, want one within two intervals", got)
		}
		before = b.checks.Load()
		for range 100 {
			list[0].Began()
			time.Sleep(time.Second)
		}
		if got := b.checks.Load() - before; got < 7 || got > 12 {
			t.Errorf("in use: %d checks in 100 s, want about 10", got)
		}
	})
}

// TestUsedIsNotIdle is the quiet side.
func TestUsedIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := spec()
		cfg.IdleInterval = config.Duration(10 * time.Minute)
		list := endpoints(2)
		b := run(t, cfg, list, func(*endpoint.Endpoint) (string, error) { return ok, nil })
		for range 300 { // one of them is enough
			list[1].Began()
			time.Sleep(time.Second)
		}
		if n := b.checks.Load(); n < 50 {
			t.Errorf("%d checks of two endpoints in five minutes, want some 60", n)
		}
	})
}
