package pool

import (
	"testing"
	"testing/synctest"
	"time"
)

// squeezed is Config.Short of a process that leaves idle connections a tenth of
// their time.
func squeezed(idle, floor time.Duration) time.Duration { return max(idle/10, floor) }

// TestShortened: idle connections go early while the process has too little of
// something, and no sooner than that; nobody learns from it how long the
// endpoint keeps them.
func TestShortened(t *testing.T) {
	for _, c := range []struct {
		idle, stays time.Duration
	}{
		{40 * time.Second, 4 * time.Second},
		{5 * time.Second, idleFloor},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(Config{MaxIdle: 10, Idle: c.idle, Learn: true, Short: squeezed})
			finish(f.begin(t, 2))
			time.Sleep(c.stays - tick)
			f.expect(t, 2, 2, 2)
			time.Sleep(2 * tick)
			f.expect(t, 0, 0, 2)
			if n, retired := f.group.Stats.Shortened.Load(), f.group.Stats.Retired.Load(); n != 2 || retired != 0 {
				t.Errorf("%d shortened, %d retired", n, retired)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			f := newMuxFixture(Config{MaxIdle: 10, Idle: c.idle, Short: squeezed}, 1)
			finish(f.begin(t, 2))
			time.Sleep(c.stays - tick)
			f.expect(t, 2, 2, 2)
			time.Sleep(4 * tick) // sweeps find out since when they are idle
			f.expect(t, 0, 0, 2)
			if n := f.group.Stats.Shortened.Load(); n != 2 {
				t.Errorf("%d shortened", n)
			}
			f.Drain()
		})
	}
}

// TestNotShortened: without a limit there is nothing to make shorter.
func TestNotShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(Config{MaxIdle: 10, Short: squeezed})
		finish(f.begin(t, 2))
		time.Sleep(time.Hour)
		f.expect(t, 2, 2, 2)
		f.Drain()
	})
}
