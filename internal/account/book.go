package account

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

const (
	// maxAccounts bounds the tenants that are told apart. It takes somebody who
	// stalls to make one, so that it is rarely reached.
	maxAccounts = 4096
	// others is the name of the account of all that found no place.
	others = "(others)"
)

// Book has the accounts of all tenants. It has a lock: who asks it for an account
// does so once something is kept, and once for an exchange.
type Book struct {
	key atomic.Pointer[requestkey.Key]

	mu       sync.Mutex
	accounts map[string]*Account
	rest     Account // of the others
}

// NewBook makes an empty Book for tenants by key.
func NewBook(key requestkey.Key) *Book {
	b := &Book{accounts: make(map[string]*Account)}
	b.rest.name = others
	b.SetKey(key)
	return b
}

// SetKey says what of a request is the tenant, from now on.
func (b *Book) SetKey(key requestkey.Key) { b.key.Store(&key) }

// Key is what the tenants are told apart by.
func (b *Book) Key() requestkey.Key { return *b.key.Load() }

// Of is the account that a request is charged to. Requests without the key are
// one tenant, whose name is "".
func (b *Book) Of(req *stream.Request) *Account {
	var room [64]byte
	name, _ := b.key.Load().AppendTo(room[:0], req)
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[string(name)]; a != nil {
		return a
	}
	return b.add(&Account{name: string(name), book: b, at: time.Now()})
}

// add gives a its place, if there is one. mu is held.
func (b *Book) add(a *Account) *Account {
	if len(b.accounts) >= maxAccounts {
		return &b.rest
	}
	b.accounts[a.name] = a
	return a
}

// again is the account of the tenant of one that was forgotten.
func (b *Book) again(a *Account) *Account {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other := b.accounts[a.name]; other != nil {
		return other
	}
	if b.add(a) != a {
		return &b.rest
	}
	a.gone.Store(false)
	return a
}

// Forget removes the accounts that have nothing on them.
func (b *Book) Forget(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, a := range b.accounts {
		if a.idle(now) {
			delete(b.accounts, name)
			a.gone.Store(true)
		}
	}
}

// Totals are the dearest tenants, the dearest first.
func (b *Book) Totals(now time.Time, most int) []Total {
	b.mu.Lock()
	list := make([]Total, 0, len(b.accounts)+1)
	for _, a := range b.accounts {
		list = append(list, a.total(now))
	}
	b.mu.Unlock()
	if rest := b.rest.total(now); rest.Spent > 0 {
		list = append(list, rest)
	}
	slices.SortFunc(list, func(x, y Total) int {
		return cmp.Or(cmp.Compare(y.Spent, x.Spent), cmp.Compare(x.Tenant, y.Tenant))
	})
	return list[:min(most, len(list))]
}

// Len is how many tenants have an account.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.accounts)
}
