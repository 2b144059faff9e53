package watchdog

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// holders are guards with names, and the names of those that fired.
type holders struct {
	dog    Dog
	book   *account.Book
	guards map[string]*Guard
	fired  []string
}

func newHolders(t *testing.T) *holders {
	key, err := requestkey.Parse("header:tenant")
	if err != nil {
		t.Fatal(err)
	}
	h := &holders{book: account.NewBook(key), guards: map[string]*Guard{}}
	t.Cleanup(func() {
		for _, g := range h.guards {
			g.Release()
		}
	})
	return h
}

func (h *holders) payer(tenant string) *account.Account {
	var req stream.Request
	req.Header.Add("Tenant", tenant)
	return h.book.Of(&req)
}

// hold makes a guard in a phase, or at rest, that holds something.
func (h *holders) hold(name, tenant string, bytes int, resting bool) *Guard {
	g := new(Guard)
	h.guards[name] = g
	h.dog.Watch(g, limits, func(_ uint8, v Verdict) {
		if v == Costly {
			h.fired = append(h.fired, name)
		}
	}, nil)
	if !resting {
		g.Enter(quiet)
	}
	if tenant != "" {
		g.Bill(h.payer(tenant))
	}
	g.Hold(bytes)
	return g
}

// TestReset: the dearest of the dearest tenant goes first, one that does not hold
// anything never, and no more than has to.
func TestReset(t *testing.T) {
	const page = 32 << 10
	synctest.Test(t, func(t *testing.T) {
		h := newHolders(t)
		h.hold("a old", "a", 2*page, false)
		h.hold("b1", "b", page, false)
		h.hold("alone", "", 3*page, true)
		h.hold("little", "a", worthwhile-1, false)
		passive := new(Guard)
		passive.Passive = true
		h.guards["passive"] = passive
		h.dog.Watch(passive, limits, func(uint8, Verdict) { t.Error("a passive one fired") }, nil)
		passive.Hold(100 * page)
		time.Sleep(10 * time.Second)
		for _, name := range []string{"b2", "b3", "b4", "b5"} {
			h.hold(name, "b", 2*page, true)
		}
		done := h.hold("done", "b", 50*page, false)
		time.Sleep(10 * time.Second)
		done.Enter(timed) // it holds nothing any more, whatever it has cost
		synctest.Wait()
		if n, bytes := h.dog.Reset(3*page, 10); n != 2 || bytes != 4*page {
			t.Errorf("%d reset that hold %d", n, bytes)
		}
		if n, _ := h.dog.Reset(1<<40, 3); n != 3 {
			t.Errorf("%d reset, want 3", n)
		}
		if n, _ := h.dog.Reset(0, 10); n != 1 {
			t.Errorf("%d reset, want 1", n)
		}
		h.dog.Reset(1<<40, 10)
		if len(h.fired) != 7 {
			t.Fatalf("%q", h.fired)
		}
		slices.Sort(h.fired[:5]) // b1 to b5 cost the same
		if got := strings.Join(h.fired, ","); got != "b1,b2,b3,b4,b5,alone,a old" {
			t.Errorf("%s", got)
		}
		for name, g := range h.guards {
			if _, v := g.Fired(); (v == Costly) != slices.Contains(h.fired, name) {
				t.Errorf("%s: %v", name, v)
			}
		}
	})
}

// TestHold: what is held for less than a sweep costs nothing, what is held on
// is charged by time, and the cost of another's exchange is not carried over.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolders(t)
		g := h.hold("g", "a", 0, false)
		for range 1000 {
			g.Hold(1 << 20)
			g.Enter(quiet)
			time.Sleep(time.Millisecond)
		}
		if spent := h.payer("a").Spent(time.Now()); spent != 0 {
			t.Errorf("%v spent by moments", spent)
		}
		g.HoldMore(1000)
		g.HoldMore(500)
		g.HoldMore(-1000)
		if g.Held() != 500 {
			t.Errorf("%d held", g.Held())
		}
		time.Sleep(10 * time.Second)
		if spent := h.payer("a").Spent(time.Now()); spent < 4500 || spent > 5000 {
			t.Errorf("%v spent by 500 bytes in 10 s", spent)
		}
		g.Rest()
		g.Bill(h.payer("b"))
		g.Hold(10)
		time.Sleep(time.Second)
		h.dog.mu.Lock()
		defer h.dog.mu.Unlock()
		if g.bill.payer.Name() != "b" || g.bill.spent > 11 {
			t.Errorf("%v on the bill of %s", g.bill.spent, g.bill.payer.Name())
		}
	})
}

// TestResetMeetsItsTurn: who goes on in between is not hit.
func TestResetMeetsItsTurn(t *testing.T) {
	h := newHolders(t)
	g := h.hold("g", "", 1<<20, false)
	c := h.dog.candidates(time.Now())[0]
	g.Enter(timed)
	if c.g.fire(c.state, Costly) || len(h.fired) != 0 {
		t.Error("the next phase is hit")
	}
}
