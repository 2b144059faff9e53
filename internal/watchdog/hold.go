package watchdog

import (
	"cmp"
	"slices"
	"time"

	"github.com/weirproxy/weir/internal/account"
)

// AtRest is the phase that expire is given for a guard at rest: of those only
// what it holds is judged.
const AtRest = ^uint8(0)

// bill is what one guard has cost, as the dog knows it.
type bill struct {
	payer *account.Account
	spent float64       // bytes times seconds, at the time of at
	at    time.Duration // since the epoch
}

// Bill says to whom what the guard holds from now on is charged; nil: to nobody
// but itself. The owner calls it when something begins that has another payer.
func (g *Guard) Bill(a *account.Account) { g.payer.Store(a) }

// Billed tells whether there is a payer.
func (g *Guard) Billed() bool { return g.payer.Load() != nil }

// Hold says that n bytes are kept in memory until the next Enter or Rest. It is
// for bytes that a peer does not take, or that are there for one that sends
// slowly: the dog charges what it finds when it sweeps, so that what is kept
// for a moment costs nothing but this.
func (g *Guard) Hold(n int) { g.held.Store(int64(n)) }

// HoldMore adds to what is held, or takes from it: where there are several who
// hold something in one phase.
func (g *Guard) HoldMore(n int) { g.held.Add(int64(n)) }

// Held is how much is held.
func (g *Guard) Held() int64 { return g.held.Load() }

// let ends the hold.
func (g *Guard) let() {
	if g.held.Load() != 0 {
		g.held.Store(0)
	}
}

// charge is the dog's: n bytes were held since the last sweep.
func (g *Guard) charge(n int64, passed, at time.Duration, now time.Time) {
	payer := g.payer.Load()
	if g.bill == nil || payer != g.bill.payer { // somebody else's exchange
		g.bill = &bill{payer: payer}
	}
	g.bill.spent = account.Fade(g.bill.spent, at-g.bill.at) + float64(n)*passed.Seconds()
	g.bill.at = at
	if payer != nil {
		payer.Charge(n, passed, now)
	}
}

// worthwhile is what a guard must hold to be reset: less gives nothing back.
const worthwhile = 8 << 10

// candidate is a guard that may be reset.
type candidate struct {
	g      *Guard
	state  uint64
	held   int64
	spent  float64
	tenant float64
}

// Reset fires guards that hold something, the dearest of the dearest payer
// first, until they hold enough together, or as many as most. A guard without
// a payer is its own.
func (d *Dog) Reset(enough int64, most int) (guards int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.candidates(time.Now()) {
		if guards >= most || guards > 0 && bytes >= enough {
			break
		}
		if c.g.fire(c.state, Costly) {
			guards++
			bytes += c.held
		}
	}
	return guards, bytes
}

// candidates are the dearest first. mu is held.
func (d *Dog) candidates(now time.Time) (list []candidate) {
	at := now.Sub(d.epoch)
	tenants := map[*account.Account]float64{}
	for _, g := range d.guards {
		c := candidate{g: g, state: g.state.Load(), held: g.held.Load()}
		if c.held < worthwhile || g.Passive || verdictOf(c.state) != None {
			continue
		}
		payer := g.payer.Load()
		if g.bill != nil && payer == g.bill.payer {
			c.spent = account.Fade(g.bill.spent, at-g.bill.at)
		}
		c.tenant = c.spent
		if payer != nil {
			total, known := tenants[payer]
			if !known {
				total = payer.Spent(now)
				tenants[payer] = total
			}
			c.tenant = total
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.tenant, a.tenant), cmp.Compare(b.spent, a.spent))
	})
	return list
}
