package resolve

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weirproxy/weir/internal/backoff"
)

// again is how long to wait after a failure.
var again = backoff.Exponential{Base: time.Second, Max: 30 * time.Second}

// Watch resolves a name and keeps doing so until ctx ends. onChange gets the
// addresses, sorted and never empty, at first and when they have changed; it
// is called on the goroutine of Watch and owns the slice. Failures change
// nothing: the last good addresses stay.
func (r *Resolver) Watch(ctx context.Context, name Name, onChange func([]Addr)) {
	var last []Addr
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		addrs, ttl, err := r.Lookup(ctx, name, last)
		if ctx.Err() != nil {
			return
		}
		if len(addrs) > 0 && !slices.Equal(addrs, last) {
			last = addrs
			r.Stats.Changes.Add(1)
			r.log.Info("addresses of a name have changed", "name", name.Host, "count", len(addrs))
			onChange(slices.Clone(addrs))
		}
		if err == nil {
			if failures > 0 {
				r.log.Info("a name is resolved again", "name", name.Host, "failures", failures)
			}
			failures = 0
			timer.Reset(ttl)
			continue
		}
		failures++
		r.tell(name, err, failures, len(last))
		wait := backoff.Around(again.Bound(failures), 0.25, rand.Uint64())
		if len(addrs) > 0 {
			wait = min(wait, ttl) // a part of the answer is good, and may change
		}
		timer.Reset(wait)
	}
}

// tell counts a failure and logs the first of a row.
func (r *Resolver) tell(name Name, err error, failures, kept int) {
	if kept > 0 {
		r.Stats.Kept.Add(1)
	}
	if failures > 1 {
		return
	}
	if kept > 0 {
		r.log.Warn("a name could not be resolved; its last good addresses stay in use", "name", name.Host, "err", err, "addresses", kept)
	} else {
		r.log.Warn("a name could not be resolved; trying again", "name", name.Host, "err", err)
	}
}
