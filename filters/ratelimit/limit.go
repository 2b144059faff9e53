package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/gcra"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// limit is one rate or quota.
type limit struct {
	word   string // in answers: "rate_limit" or "rate_limit.NAME"
	name   string // in metrics: NAME, or its place in the list
	shadow bool   // what it refuses is counted and let through
	keys   requestkey.Tuple
	meter  meter
	kept   string // the key of state
	state  *state
	shared *shared // nil: limited by this proxy alone
	log    *slog.Logger

	allowed, refused, shadowed *filter.Counter
	logged                     atomic.Int64 // when shadow was logged last, on the clock of state
}

// state is what a limit keeps over generations.
type state struct {
	table *gcra.Table
	seed  maphash.Seed // nobody outside can find values that share a place
	begun time.Time    // levels of rates count from here
}

// maxLimits of one filter.
const maxLimits = 8

func newLimit(spec *Limit, i int, s *Settings, env filter.Env) (*limit, error) {
	parts, err := requestkey.ParseTuple(spec.Key)
	if err != nil {
		return nil, err
	}
	l := &limit{word: "rate_limit", name: strconv.Itoa(i + 1), shadow: cmp.Or(spec.Mode, s.Mode) == shadow, keys: parts, log: env.Log}
	if spec.Name != "" {
		l.word, l.name = "rate_limit."+spec.Name, spec.Name
	}
	if l.meter, err = newMeter(spec); err != nil {
		return nil, err
	}
	// A place of a rate means nothing to another rate, so that a changed limit
	// begins anew; a changed mode or an added header does not.
	l.kept = fmt.Sprintf("%d %s %q %d", i, l.meter, []string(spec.Key), s.Keys)
	l.state = env.Keep(l.kept, func() any {
		return &state{table: gcra.New(s.Keys), seed: maphash.MakeSeed(), begun: time.Now()}
	}).(*state)
	l.count(env)
	return l, nil
}

func (l *limit) count(env filter.Env) {
	result := func(result string) *filter.Counter {
		return env.Counter("weir_rate_limit_decisions_total",
			"Decisions by limit: allowed, refused, or would have been refused (shadow_refused).", "limit", l.name, "result", result)
	}
	l.allowed, l.refused, l.shadowed = result("allowed"), result("refused"), result("shadow_refused")
	env.Gauge("weir_rate_limit_keys_displaced",
		"How often a key had to share the place of another one, because more keys than places were in use: raise keys when it grows.",
		func() float64 { return float64(l.state.table.Evicted()) }, "limit", l.name)
}

// verdict is what a limit says about one key.
type verdict struct {
	limit, left int64         // events at once, and those of them that are left
	wait        time.Duration // until the next one is allowed
	reset       time.Duration // until all are left
}

func (l *limit) hash(req *stream.Request) uint64 { return l.keys.Sum(l.state.seed, req) }

// foresee tells what is known of what decide will say.
func (l *limit) foresee(hash uint64, now time.Time) decision {
	if l.shared != nil {
		return l.shared.look(l, hash, now)
	}
	return l.look(hash, now)
}

// decide charges one event to the key if there is room for it.
func (l *limit) decide(ctx context.Context, req *stream.Request, hash uint64, now time.Time) decision {
	if l.shared != nil {
		return l.shared.take(ctx, l, req, hash, now)
	}
	return l.take(hash, now)
}

// take charges one event to the key if there is room for it.
func (l *limit) take(hash uint64, now time.Time) decision {
	r := l.meter.read(now, l.state.begun)
	level, ok := l.state.table.Take(hash, r.floor, r.ceiling, r.cost)
	return l.decision(&r, level, ok)
}

// look tells what take would, and charges nothing.
func (l *limit) look(hash uint64, now time.Time) decision {
	r := l.meter.read(now, l.state.begun)
	level := l.state.table.Level(hash, r.floor)
	return l.decision(&r, level, level+r.cost <= r.ceiling)
}

func (l *limit) decision(r *reading, level int64, ok bool) decision {
	if ok {
		return decision{verdict: r.verdict(level)}
	}
	return decision{by: l, verdict: r.verdict(level)}
}

// quiet is the least time between two lines of the log about one limit.
const quiet = 10 * time.Second

// wouldRefuse notes a refusal that is not enforced.
func (l *limit) wouldRefuse() {
	l.shadowed.Add(1)
	now := int64(time.Since(l.state.begun)) + int64(quiet)
	last := l.logged.Load()
	if now-last >= int64(quiet) && l.logged.CompareAndSwap(last, now) {
		l.log.Info("requests would be refused by a rate limit that is in shadow mode", "limit", l.name, "would_be_refused", l.shadowed.Value())
	}
}
