package ratio

import (
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestWindow(t *testing.T) {
	w := New(10*time.Second, start)
	for i := range 100 {
		w.Add(i%4 != 0, start.Add(time.Duration(i)*50*time.Millisecond))
	}
	for _, c := range []struct {
		at        time.Duration
		all, good int64
	}{
		{5 * time.Second, 100, 75},
		{10 * time.Second, 100, 75},
		{12 * time.Second, 60, 45}, // seconds 0 and 1 are forgotten
		{16 * time.Second, 0, 0},
		{time.Hour, 0, 0},
	} {
		if all, good := w.Sums(start.Add(c.at)); all != c.all || good != c.good {
			t.Errorf("after %v: %d of %d, want %d of %d", c.at, good, all, c.good, c.all)
		}
	}
	w.Add(true, start.Add(-time.Second)) // a clock that goes back
}

func TestManyAdd(t *testing.T) {
	w := New(time.Second, start)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				w.Add(true, start)
			}
		})
	}
	all.Wait()
	if n, good := w.Sums(start); n != 8000 || good != 8000 {
		t.Errorf("%d, %d", n, good)
	}
}
