// Package account charges what is kept in memory to whom it is kept for: bytes
// times seconds, of which half is forgotten each minute. A gigabyte for a moment
// and a kilobyte for days are both cheap; what is large and stays is dear.
package account

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// halfLife is the time in which half of what was charged is forgotten.
const halfLife = time.Minute

// Fade is what is left of an amount after a while.
func Fade(spent float64, passed time.Duration) float64 {
	if spent == 0 || passed <= 0 {
		return spent
	}
	return spent * math.Exp2(-float64(passed)/float64(halfLife))
}

// Account is what one tenant costs.
type Account struct {
	name string
	book *Book
	gone atomic.Bool // not in the book any more

	mu    sync.Mutex
	spent float64   // bytes times seconds, at the time of at
	held  int64     // bytes that the charges of at were for
	at    time.Time // of the last charge; of its making before that
}

// Name is the tenant.
func (a *Account) Name() string { return a.name }

// Charge adds what was kept until now, for passed. What is charged at the same
// time is kept at the same time.
func (a *Account) Charge(bytes int64, passed time.Duration, now time.Time) {
	a = a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.Equal(now) {
		a.spent, a.at, a.held = Fade(a.spent, now.Sub(a.at)), now, 0
	}
	a.held += bytes
	a.spent += float64(bytes) * passed.Seconds()
}

// Spent is what the tenant has cost lately.
func (a *Account) Spent(now time.Time) float64 { return a.current().total(now).Spent }

// current is the account that the book has for the tenant. The one at hand may
// have been forgotten while nothing was kept: tunnels are quiet for hours.
func (a *Account) current() *Account {
	if !a.gone.Load() {
		return a
	}
	return a.book.again(a)
}

// recent is for how long what was kept at the last charge is taken to be kept.
const recent = 2 * time.Second

// Total is what a tenant costs.
type Total struct {
	Tenant string
	Held   int64   // bytes that are kept now
	Spent  float64 // bytes times seconds, lately
}

func (a *Account) total(now time.Time) Total {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := Total{Tenant: a.name, Spent: Fade(a.spent, now.Sub(a.at))}
	if now.Sub(a.at) < recent {
		t.Held = a.held
	}
	return t
}

// idle tells whether the account may be forgotten.
func (a *Account) idle(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Sub(a.at) >= recent && Fade(a.spent, now.Sub(a.at)) < negligible
}

// negligible is what is worth no account: a page for a second.
const negligible = 32 << 10
