package keys

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/backoff"
)

// Source holds the set of one issuer: one that does not change, or one that is
// fetched again and again. It is safe for concurrent use.
type Source struct {
	times Times
	lead  chan struct{} // who has the one place fetches; the others wait for it
	wake  chan struct{} // somebody wants a fetch now

	// held is what every request reads, without a lock.
	held atomic.Pointer[held]

	mu      sync.Mutex
	fixed   bool
	tried   time.Time     // when the last fetch ended
	failed  int           // fetches in a row
	err     error         // of the last one
	round   chan struct{} // closed at the end of the fetch that is wanted; nil: none is
	waiting int
}

// held is a set with its time.
type held struct {
	set     *Set
	fetched time.Time // when it came, or was found unchanged
}

// Times say how a source is kept current.
type Times struct {
	Refresh  time.Duration // a set is fetched again after that
	Stale    time.Duration // and not used any more after that
	Cooldown time.Duration // between fetches that requests ask for
	Timeout  time.Duration // of a fetch, and of the wait for one
}

// Fetch gets the text of a set within the time of ctx.
type Fetch func(ctx context.Context) ([]byte, error)

// Fixed is a source with one set for ever.
func Fixed(set *Set) *Source {
	s := &Source{fixed: true}
	s.held.Store(&held{set, time.Now()})
	return s
}

// NewSource is a source that has no set until somebody follows it.
func NewSource(t Times) *Source {
	return &Source{times: t, lead: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// Current is the set to verify with; nil when there is none, or when it is too
// old to be trusted.
func (s *Source) Current(now time.Time) *Set {
	h := s.held.Load()
	if h == nil || !s.fixed && now.Sub(h.fetched) > s.times.Stale {
		return nil
	}
	return h.set
}

// maxWaiting requests wait for a fetch at a time: whoever makes up key ids can
// hold so many, and for one fetch only.
const maxWaiting = 1000

// Renew has the set fetched for somebody who misses a key, and waits for the end
// of that. One fetch is for all who ask meanwhile. It is false, at once, when the
// last one is not long ago or too many wait already.
func (s *Source) Renew(ctx context.Context) bool {
	round := s.want(time.Now())
	if round == nil {
		return false
	}
	defer s.leave()
	limit := time.NewTimer(s.times.Timeout) // on this rare way only
	defer limit.Stop()
	select {
	case <-round:
		return true
	case <-limit.C:
	case <-ctx.Done():
	}
	return false
}

// want is the end of the fetch that is under way or wanted now; nil: there is
// none.
func (s *Source) want(now time.Time) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fixed || s.waiting >= maxWaiting {
		return nil
	}
	if s.round == nil {
		if !s.tried.IsZero() && now.Sub(s.tried) < s.times.Cooldown {
			return nil
		}
		s.round = make(chan struct{})
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	s.waiting++
	return s.round
}

func (s *Source) leave() {
	s.mu.Lock()
	s.waiting--
	s.mu.Unlock()
}

// Follow keeps the set current with fetch until ctx ends, and tells done what
// became of each. Of all who follow one source, one fetches; when it is gone,
// another one does.
func (s *Source) Follow(ctx context.Context, fetch Fetch, done func(err error)) {
	select {
	case s.lead <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-s.lead }()
	for ctx.Err() == nil {
		due := time.NewTimer(s.due(time.Now()))
		select {
		case <-due.C:
		case <-s.wake:
			due.Stop()
		case <-ctx.Done():
			due.Stop()
			return
		}
		s.fetch(ctx, fetch, done)
	}
}

// retries of a fetch that failed: each source comes back by itself.
var retries = backoff.Exponential{Base: time.Second, Max: time.Minute}

// due is the time until the next fetch.
func (s *Source) due(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tried.IsZero() || s.round != nil:
		return 0
	case s.failed > 0:
		return s.tried.Add(backoff.Around(min(retries.Bound(s.failed), s.times.Refresh), 0.3, rand.Uint64())).Sub(now)
	}
	return s.tried.Add(backoff.Around(s.times.Refresh, 0.1, rand.Uint64())).Sub(now)
}

func (s *Source) fetch(ctx context.Context, fetch Fetch, done func(err error)) {
	limited, cancel := context.WithTimeout(ctx, s.times.Timeout)
	defer cancel()
	content, err := fetch(limited)
	var set *Set
	if err == nil {
		set, err = ParseSet(content)
	}
	if err != nil && ctx.Err() != nil { // who follows is gone: that says nothing about the issuer
		return
	}
	s.note(set, err)
	done(err)
}

// note takes the set over, or notes why there is none, and wakes who waits.
func (s *Source) note(set *Set, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried, s.err = time.Now(), err
	if err != nil {
		s.failed++
	} else {
		s.failed = 0
		if before := s.held.Load(); before != nil && set.Same(before.set) {
			set = before.set // what was verified stays so
		}
		s.held.Store(&held{set, s.tried})
	}
	if s.round != nil {
		close(s.round)
		s.round = nil
	}
}

// State is what operators see.
type State struct {
	Keys    int       // that verify
	Skipped int       // that do not
	Fetched time.Time // the zero time: never
	Failed  int       // fetches in a row
	Err     error     // of the last fetch
}

// State is the present one.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Failed: s.failed, Err: s.err}
	if h := s.held.Load(); h != nil {
		st.Fetched, st.Keys, st.Skipped = h.fetched, h.set.Len(), h.set.Skipped()
	} else if s.err == nil {
		st.Err = errors.New("the keys were not fetched yet")
	}
	return st
}
