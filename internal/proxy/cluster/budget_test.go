package cluster

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// TestBudgetUnderStorm: everything fails, and the attempts stay within a fifth
// more than the requests and a few per second.
func TestBudgetUnderStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds, callers = 3, 30, 50
		f := newFixture(2, func(c *Config) { c.RetryBudget = config.RetryBudget{Ratio: 0.2, MinPerSecond: perSecond} })
		for _, u := range f.up {
			u.fails(stream.ConnectRefused, stream.RetryUnsent)
		}
		s := f.ForRoute(retries(4, "connect"))
		var requests, attempts int64
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 0))
				for start := time.Now(); time.Since(start) < seconds*time.Second; {
					req := request("GET")
					outcome(s.Serve(t.Context(), req))
					mu.Lock()
					requests++
					attempts += int64(req.Exchange.Attempts)
					mu.Unlock()
					time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		limit := float64(requests)*1.2 + perSecond*(seconds+1)
		if float64(attempts) > limit {
			t.Errorf("%d attempts for %d requests, want at most %.0f", attempts, requests, limit)
		}
		if float64(attempts) < float64(requests)*1.15 {
			t.Errorf("%d attempts for %d requests: the budget gives less than it has", attempts, requests)
		}
		if f.Stats.RetryRefused[RefusedBudget].Load() == 0 {
			t.Error("nothing was refused")
		}
		f.quiet(t)
	})
}

func TestBudget(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	count := func(b *budget, s float64, n int) (allowed int) {
		for range n {
			if b.retry(at(s)) {
				allowed++
			}
		}
		return allowed
	}
	b := &budget{born: start, ratio: 0.2, perSecond: 3}
	if n := count(b, 0, 100); n != 3 {
		t.Errorf("without requests: %d, want the minimum of 3", n)
	}
	for i := range 100 {
		b.request(at(1 + float64(i)/100))
	}
	if n := count(b, 1.999, 100); n != 17 {
		t.Errorf("after 100 requests: %d, want 20 less the 3 before", n)
	}
	for range 20 {
		b.request(at(2))
	}
	rested := &budget{born: start, ratio: 0.2, perSecond: 3}
	for i := range 1000 {
		rested.request(at(float64(i) / 200)) // five seconds without a retry
	}
	if n := count(rested, 4.999, 1000); n != 40 {
		t.Errorf("after 200 requests in this second and many before: %d, want 40", n)
	}
	if n := count(b, 3, 100); n != 3 {
		t.Errorf("the share is spent: %d, want the minimum", n)
	}
	if n := count(b, 30, 100); n != 3 {
		t.Errorf("the requests are long ago: %d, want the minimum", n)
	}
	b.request(at(29)) // came late
	b.request(at(5))  // by a whole round
	none := &budget{born: start}
	if n := count(none, 0, 10); n != 0 {
		t.Errorf("no budget at all allowed %d", n)
	}
}

// TestBudgetHoldsInSum: a failure may begin at any moment of a second, after a
// calm time or one with a few failures; what is retried from then on is within
// the share of what came from then on.
func TestBudgetHoldsInSum(t *testing.T) {
	const rate, calm, broken = 200, 3, 3
	for _, trickle := range []int{0, 100} { // every so many requests fail before
		for offset := range rate {
			start := time.Now()
			b := &budget{born: start, ratio: 0.2, repays: true}
			retries, requests := 0, 0
			for i := range (calm+broken)*rate + offset {
				now := start.Add(time.Duration(i) * time.Second / rate)
				b.request(now)
				failing := i >= calm*rate+offset
				if failing {
					requests++
				}
				if (failing || trickle > 0 && i%trickle == 0) && b.retry(now) && failing {
					retries++
				}
			}
			if most := requests / 5; retries > most || retries < most*8/10 {
				t.Errorf("one failure of %d before, %d/%d into the second: %d retries for %d requests", trickle, offset, rate, retries, requests)
			}
		}
	}
}

func TestBudgetIsNeverExceededAtOnce(t *testing.T) {
	now := time.Now()
	b := &budget{born: now, ratio: 0.1}
	for range 1000 {
		b.request(now)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if b.retry(now) {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed > 100 || allowed < 90 {
		t.Errorf("%d retries for 1000 requests at a tenth", allowed)
	}
}
