package account

import (
	"math"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

func key(t *testing.T, text string) requestkey.Key {
	t.Helper()
	k, err := requestkey.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func from(client, tenant string) *stream.Request {
	req := &stream.Request{Client: netip.MustParseAddr(client)}
	if tenant != "" {
		req.Header.Add("X-Tenant", tenant)
	}
	return req
}

// TestCharge: what is kept for long costs more than what is large for a moment,
// half of it is forgotten in a minute, and what is kept now is the sum of what
// is charged at once.
func TestCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(key(t, "header:x-tenant"))
		long, burst := b.Of(from("192.0.2.1", "long")), b.Of(from("192.0.2.1", "burst"))
		if b.Of(from("192.0.2.2", "long")) != long || b.Len() != 2 {
			t.Error("one tenant has two accounts")
		}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			now := time.Now()
			long.Charge(30_000, 100*time.Millisecond, now)
			long.Charge(10_000, 100*time.Millisecond, now)
		}
		burst.Charge(2_000_000, 100*time.Millisecond, time.Now())
		totals := b.Totals(time.Now(), 10)
		if len(totals) != 2 || totals[0].Tenant != "long" || totals[0].Held != 40_000 || math.Abs(totals[0].Spent-400_000) > 40_000 {
			t.Errorf("%+v", totals)
		}
		before := long.Spent(time.Now())
		time.Sleep(time.Minute)
		if after := long.Spent(time.Now()); math.Abs(after-before/2) > 1 || b.Totals(time.Now(), 1)[0].Held != 0 {
			t.Errorf("%v after %v", after, before)
		}
	})
}

// TestForget: an account with nothing on it goes, and comes back for who still
// has it, as the one that others have by then.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(key(t, "client/24"))
		a := b.Of(from("192.0.2.1", ""))
		b.Forget(time.Now())
		if b.Len() != 1 {
			t.Error("forgotten before it was charged")
		}
		a.Charge(1000, time.Second, time.Now())
		time.Sleep(recent)
		if b.Forget(time.Now()); b.Len() != 0 {
			t.Error("not forgotten")
		}
		second := b.Of(from("192.0.2.9", ""))
		a.Charge(1<<20, time.Second, time.Now())
		if got := second.Spent(time.Now()); got != 1<<20 || a.Spent(time.Now()) != got {
			t.Errorf("%v on the account of the same tenant", got)
		}
		time.Sleep(recent)
		if b.Forget(time.Now()); b.Len() != 1 {
			t.Error("forgotten with something on it")
		}
		time.Sleep(10 * time.Minute)
		b.Forget(time.Now())
		second.Charge(5, time.Second, time.Now())
		if b.Len() != 1 || b.Totals(time.Now(), 1)[0].Held != 5 {
			t.Errorf("%+v", b.Totals(time.Now(), 9))
		}
	})
}

// TestOthers: however many tenants there are, the book stays small, and nobody
// is free of charge.
func TestOthers(t *testing.T) {
	b := NewBook(key(t, "header:x-tenant"))
	for i := range maxAccounts + 10 {
		b.Of(from("192.0.2.1", strconv.Itoa(i))).Charge(1, time.Second, time.Now())
	}
	totals := b.Totals(time.Now(), maxAccounts+10)
	if b.Len() != maxAccounts || totals[0].Tenant != others || totals[0].Spent < 9 {
		t.Errorf("%d accounts, the dearest %+v", b.Len(), totals[0])
	}
	gone := &Account{name: "late", book: b}
	gone.gone.Store(true)
	gone.Charge(7, time.Second, time.Now())
	if got := b.Totals(time.Now(), 1)[0]; got.Spent < 16 {
		t.Errorf("%+v", got)
	}
}

// TestAllocsOf: a tenant that is known costs no allocation.
func TestAllocsOf(t *testing.T) {
	b := NewBook(key(t, "client"))
	req := from("2001:db8::1", "")
	b.Of(req)
	if n := testing.AllocsPerRun(100, func() { b.Of(req) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
