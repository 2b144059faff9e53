package watchdog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestSqueeze shortens waits that have begun, down to their floor, and only
// those that have one.
func TestSqueeze(t *testing.T) {
	const (
		idle uint8 = iota
		tunnel
		other
	)
	limits := []Limit{
		idle:   {Ceiling: 60 * time.Second, Floor: 10 * time.Second},
		tunnel: {Idle: 60 * time.Second, Floor: 20 * time.Second},
		other:  {Ceiling: 60 * time.Second},
	}
	for _, c := range []struct {
		name  string
		enter func(*Guard)
		part  float64
		after time.Duration // it fires, and not before
		want  Verdict
	}{
		{"nothing", func(g *Guard) { g.Enter(idle) }, 0, 60 * time.Second, TooLong},
		{"half", func(g *Guard) { g.Enter(idle) }, 0.5, 35 * time.Second, Shortened},
		{"all", func(g *Guard) { g.Enter(idle) }, 1, 10 * time.Second, Shortened},
		{"silence", func(g *Guard) { g.Enter(tunnel) }, 1, 20 * time.Second, Shortened},
		{"silence of its own", func(g *Guard) { g.EnterIdle(tunnel, context.Background(), time.Time{}, 100*time.Second) }, 0.5, 60 * time.Second, Shortened},
		{"silence below the floor", func(g *Guard) { g.EnterIdle(tunnel, context.Background(), time.Time{}, 5*time.Second) }, 1, 5 * time.Second, Stalled},
		{"no floor", func(g *Guard) { g.Enter(other) }, 1, 60 * time.Second, TooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Dog
				fired := make(chan Verdict, 1)
				g := new(Guard)
				d.Watch(g, limits, func(_ uint8, v Verdict) { fired <- v }, nil)
				defer g.Release()
				c.enter(g)
				time.Sleep(2 * time.Second)
				d.Squeeze(c.part) // the wait has begun
				time.Sleep(c.after - 2*time.Second - 1)
				expect(t, fired, None)
				time.Sleep(2*fastest + 1)
				expect(t, fired, c.want)
			})
		})
	}
}
