package keys_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/filters/jwt/keys"
)

var times = keys.Times{Refresh: 10 * time.Minute, Stale: time.Hour, Cooldown: 10 * time.Second, Timeout: 5 * time.Second}

// issuer answers with what it is told, after a while.
type issuer struct {
	mu    sync.Mutex
	set   string
	err   error
	takes time.Duration
	asked int
}

func (i *issuer) fetch(ctx context.Context) ([]byte, error) {
	i.mu.Lock()
	i.asked++
	set, err, takes := i.set, i.err, i.takes
	i.mu.Unlock()
	select {
	case <-time.After(takes):
		return []byte(set), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (i *issuer) says(set string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set, i.err = set, err
}

func (i *issuer) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func follow(t *testing.T, i *issuer) *keys.Source {
	s := keys.NewSource(times)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go s.Follow(ctx, i.fetch, func(error) {})
	synctest.Wait()
	return s
}

// TestRefresh: the set is fetched in the background, and a new one takes the
// place of the old one; the same content is the same set.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := jwttest.Set(jwttest.Ed(t, "1").JWK()), jwttest.Set(jwttest.Ed(t, "2").JWK())
		i := &issuer{set: one}
		s := follow(t, i)
		first := s.Current(time.Now())
		if first == nil || i.times() != 1 {
			t.Fatalf("%v after %d fetches", first, i.times())
		}
		time.Sleep(12 * time.Minute)
		if again := s.Current(time.Now()); again != first || i.times() != 2 {
			t.Errorf("the same content is another set, or %d fetches", i.times())
		}
		i.says(two, nil)
		time.Sleep(12 * time.Minute)
		if s.Current(time.Now()) == first {
			t.Error("the old set is in use")
		}
	})
}

// TestStale: while the issuer is gone the last set is used, for a while; bad
// content does not take its place; and it comes back by itself.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := jwttest.Set(jwttest.Ed(t, "1").JWK())
		i := &issuer{set: set}
		s := follow(t, i)
		i.says("<html>", nil)
		time.Sleep(30 * time.Minute)
		if s.Current(time.Now()) == nil || s.State().Failed == 0 {
			t.Errorf("%+v", s.State())
		}
		i.says("", errors.New("gone"))
		time.Sleep(31 * time.Minute)
		if s.Current(time.Now()) != nil {
			t.Error("a set that is too old is used")
		}
		if n := i.times(); n > 80 {
			t.Errorf("%d fetches in an hour", n)
		}
		i.says(set, nil)
		time.Sleep(2 * time.Minute)
		if s.Current(time.Now()) == nil {
			t.Error("it does not come back")
		}
	})
}

// TestRenew: one fetch is for all who miss a key, and none follows within the
// cooldown, however many ask.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{set: jwttest.Set(jwttest.Ed(t, "1").JWK()), takes: time.Second}
		s := follow(t, i)
		time.Sleep(time.Minute)
		var renewed, refused int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 2000 {
			all.Go(func() {
				ok := s.Renew(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if ok {
					renewed++
				} else {
					refused++
				}
			})
		}
		all.Wait()
		if i.times() != 2 || renewed != 1000 || refused != 1000 {
			t.Errorf("%d fetches, %d renewed, %d refused", i.times(), renewed, refused)
		}
		begun := time.Now()
		if s.Renew(t.Context()) || time.Since(begun) != 0 {
			t.Error("a fetch within the cooldown")
		}
		time.Sleep(10 * time.Second)
		if !s.Renew(t.Context()) || i.times() != 3 {
			t.Errorf("no fetch behind the cooldown: %d", i.times())
		}
	})
}

// TestSlowIssuer: a fetch has a deadline, and so has who waits for it.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{set: jwttest.Set(jwttest.Ed(t, "1").JWK()), takes: time.Hour}
		s := follow(t, i)
		begun := time.Now()
		if s.Renew(t.Context()); time.Since(begun) > 11*time.Second || s.Current(time.Now()) != nil {
			t.Errorf("waited for %v", time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(20 * time.Second)
		begun = time.Now()
		if s.Renew(ctx) || time.Since(begun) > time.Second {
			t.Errorf("a request that is over waited for %v", time.Since(begun))
		}
	})
}

// TestFollowers: when who fetches is gone, another one goes on; a fetch that ends
// for that reason is no failure.
func TestFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{set: jwttest.Set(jwttest.Ed(t, "1").JWK()), takes: time.Second}
		s := keys.NewSource(times)
		first, gone := context.WithCancel(t.Context())
		go s.Follow(first, i.fetch, func(error) {})
		synctest.Wait()
		second, end := context.WithCancel(t.Context())
		defer end()
		go s.Follow(second, i.fetch, func(error) {})
		time.Sleep(500 * time.Millisecond)
		gone()
		time.Sleep(2 * time.Second)
		if st := s.State(); s.Current(time.Now()) == nil || st.Failed != 0 || i.times() != 2 {
			t.Errorf("%+v after %d fetches", st, i.times())
		}
	})
}
