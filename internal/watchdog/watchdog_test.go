package watchdog

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	quiet uint8 = iota
	timed
	ceiled
	rated
)

var limits = []Limit{
	quiet:  {},
	timed:  {Idle: time.Second},
	ceiled: {Ceiling: 3 * time.Second},
	rated:  {MinRate: 100, Grace: 2 * time.Second},
}

// watch starts a guard whose verdicts arrive on the channel.
func watch(t *testing.T, probe func(uint8) bool) (*Guard, <-chan Verdict) {
	fired := make(chan Verdict, 16)
	g := new(Guard)
	var d Dog
	d.Watch(g, limits, func(_ uint8, v Verdict) { fired <- v }, probe)
	t.Cleanup(g.Release)
	return g, fired
}

func expect(t *testing.T, fired <-chan Verdict, want Verdict) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-fired:
		if v != want {
			t.Fatalf("fired %v, want %v", v, want)
		}
	default:
		if want != None {
			t.Fatalf("did not fire, want %v", want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	const slack = 2 * fastest
	cases := []struct {
		name  string
		run   func(g *Guard)
		early time.Duration // nothing has fired yet
		late  time.Duration // after that much more time it has
		want  Verdict
	}{
		{"rest", func(g *Guard) { g.Rest() }, time.Hour, time.Hour, None},
		{"no limit", func(g *Guard) { g.Enter(quiet) }, time.Hour, time.Hour, None},
		{"idle", func(g *Guard) { g.Enter(timed) }, time.Second - 1, 2*slack + 1, Stalled},
		{"ceiling in spite of progress", func(g *Guard) {
			g.Enter(ceiled)
			g.Moved(1 << 30)
		}, 3*time.Second - 1, 2*slack + 1, TooLong},
		{"rate", func(g *Guard) { g.Enter(rated) }, 2*time.Second - 1, 2*slack + 1, TooSlow},
		{"deadline", func(g *Guard) {
			g.EnterUntil(quiet, context.Background(), time.Now().Add(time.Minute))
		}, time.Minute - 1, slack + 1, Late},
		{"cancel", func(g *Guard) {
			ctx, cancel := context.WithCancel(context.Background())
			g.EnterUntil(quiet, ctx, time.Time{})
			cancel()
		}, 0, slack, Canceled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, fired := watch(t, nil)
				c.run(g)
				time.Sleep(c.early)
				expect(t, fired, None)
				time.Sleep(c.late)
				expect(t, fired, c.want)
			})
		})
	}
}

func TestProgressPostpones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, fired := watch(t, nil)
		g.Enter(timed)
		for range 20 {
			time.Sleep(800 * time.Millisecond)
			g.Moved(1)
		}
		expect(t, fired, None)
	})
}

func TestLateVerdictDoesNotHitTheNextPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, fired := watch(t, nil)
		for range 50 {
			g.Enter(timed)
			time.Sleep(900 * time.Millisecond)
		}
		expect(t, fired, None)
		time.Sleep(time.Second)
		expect(t, fired, Stalled)
		if g.Enter(timed) {
			t.Error("Enter after an expired phase reported success")
		}
		if !g.Enter(timed) {
			t.Error("the verdict outlived the phase that follows")
		}
	})
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		g, fired := watch(t, func(uint8) bool { return gone.Load() })
		g.Enter(quiet)
		time.Sleep(time.Minute)
		expect(t, fired, None)
		gone.Store(true)
		time.Sleep((probeAfter + 1) * fastest)
		expect(t, fired, PeerGone)
	})
}

func BenchmarkEnter(b *testing.B) {
	var d Dog
	var g Guard
	d.Watch(&g, limits, func(uint8, Verdict) {}, nil)
	defer g.Release()
	for b.Loop() {
		g.Enter(timed)
	}
}
