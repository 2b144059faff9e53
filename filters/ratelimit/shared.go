package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/redis"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// shared is what a limit has when proxies share it: the store decides, and this
// proxy spends what it has leased there.
type shared struct {
	client    *redis.Client
	leases    *leases
	prefix    string
	scope     string // what keys of this limit begin with, before they are hashed
	script    *redis.Script
	most      int64 // that is leased at a time
	timeout   time.Duration
	onFailure string

	asked, late, away, failed *filter.Counter
	leased                    *filter.Counter
}

func newShared(l *limit, s *Settings, client *redis.Client, env filter.Env) *shared {
	sh := &shared{
		client: client, prefix: s.Store.Prefix + ":", timeout: time.Duration(s.Store.Timeout), onFailure: s.Store.OnFailure,
		scope: env.Route.Name + "\x00" + l.name + "\x00" + l.meter.String(),
	}
	sh.script, sh.most = newScript(l.meter), s.Store.Lease.of(l.meter.size())
	sh.leases = env.Keep("leases "+l.kept+" "+s.Store.identity(), func() any { return newLeases(s.Keys) }).(*leases)
	result := func(result string) *filter.Counter {
		return env.Counter("weir_rate_limit_store_requests_total",
			"Questions to the shared store: answered, late, not asked because it was away, or answered with an error.", "limit", l.name, "result", result)
	}
	sh.asked, sh.late, sh.away, sh.failed = result("answered"), result("late"), result("away"), result("error")
	sh.leased = env.Counter("weir_rate_limit_leased_total", "Requests that the shared store allowed to this proxy, used or not.", "limit", l.name)
	return sh
}

// take spends one request of what is leased, or leases more. This is where a
// request may wait for the store, at most its timeout.
func (sh *shared) take(ctx context.Context, l *limit, req *stream.Request, hash uint64, now time.Time) decision {
	late := now.Add(sh.timeout)
	for first := true; ; first = false {
		if !first && !now.Before(late) {
			sh.late.Add(1)
			return sh.failure(l, hash, now)
		}
		a, turn := sh.leases.spend(hash, now, sh.most)
		switch turn {
		case spent:
			l.take(hash, now) // so that the local table knows what this proxy has let through
			return decision{verdict: sh.verdict(l, &a)}
		case refused:
			return decision{by: l, verdict: sh.verdict(l, &a)}
		case wait:
			await(ctx, a.answered, time.Until(late))
			if now = time.Now(); ctx.Err() != nil {
				return sh.failure(l, hash, now)
			}
		case ask:
			if d := sh.known(l, hash, now); d.by != nil {
				return d
			}
			if err := sh.ask(ctx, l, req, hash, a.want, now); err != nil {
				return sh.failure(l, hash, time.Now())
			}
			now = time.Now()
		}
	}
}

// known refuses without a question what this proxy alone has let through too
// much of already.
func (sh *shared) known(l *limit, hash uint64, now time.Time) decision {
	if !sh.client.Up() {
		return decision{}
	}
	d := l.look(hash, now)
	if d.by != nil {
		sh.leases.refuse(hash, now, d.wait)
	}
	return d
}

// look tells what is known without a question.
func (sh *shared) look(l *limit, hash uint64, now time.Time) decision {
	if wait, reset := sh.leases.refuses(hash, now); wait > 0 {
		return decision{by: l, verdict: verdict{limit: l.meter.size(), wait: wait, reset: reset}}
	}
	return decision{}
}

func (sh *shared) verdict(l *limit, a *answer) verdict {
	return verdict{limit: l.meter.size(), left: a.left, wait: a.wait, reset: max(a.reset, 0)}
}

// await waits for what another request has asked.
func await(ctx context.Context, answered <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ask leases want requests, or fewer.
func (sh *shared) ask(ctx context.Context, l *limit, req *stream.Request, hash uint64, want int64, now time.Time) error {
	list, err := sh.client.Run(ctx, sh.script, sh.key(l, req, now), l.meter.args(want, now))
	if err == nil && len(list) != 4 {
		err = errors.New("rate_limit: the script answered with another list")
	}
	if err != nil {
		sh.leases.fail(hash)
		sh.count(err)
		return err
	}
	sh.asked.Add(1)
	sh.leased.Add(list[0])
	g := granted{n: list[0], left: list[1], wait: time.Duration(list[2]) * time.Microsecond, reset: time.Duration(list[3]) * time.Microsecond}
	if r := l.meter.read(now, l.state.begun); r.end > 0 {
		g.wait, g.reset = r.end, r.end
	}
	sh.leases.answer(hash, time.Now(), g)
	return nil
}

func (sh *shared) count(err error) {
	switch {
	case errors.Is(err, redis.ErrAway):
		sh.away.Add(1)
	case errors.Is(err, redis.ErrLate):
		sh.late.Add(1)
	default:
		sh.failed.Add(1)
	}
}

// failure is what happens without the store.
func (sh *shared) failure(l *limit, hash uint64, now time.Time) decision {
	switch sh.onFailure {
	case onFailureAllow:
		return decision{}
	case onFailureRefuse:
		return decision{by: l, unknown: true, verdict: verdict{wait: time.Second}}
	}
	return l.take(hash, now)
}

// key of a request in the store: a hash, so that the store does not learn
// addresses and credentials, and cannot be filled with long ones.
func (sh *shared) key(l *limit, req *stream.Request, now time.Time) string {
	var room [512]byte
	parts := requestkey.Append(room[:0], sh.scope+l.meter.window(now), true)
	sum := sha256.Sum256(l.keys.AppendParts(parts, req))
	return sh.prefix + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// rateText is the generic cell rate algorithm over the clock of the store, in
// microseconds: KEYS[1], how long one request takes, burst, how many are wanted.
// It returns how many are allowed, how many are left then, the wait until one
// is, the time until all are.
const rateText = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local every, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now) or now, now)
local room = math.floor((now + burst * every - tat) / every + 0.000001)
local n = math.min(want, room)
if n < 1 then
  return {0, 0, math.ceil(tat + every - now - burst * every), math.ceil(tat - now)}
end
tat = tat + n * every
redis.call('SET', KEYS[1], string.format('%.3f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
return {n, room - n, 0, math.ceil(tat - now)}
`

// quotaText counts within a window, which the key names: KEYS[1], amount, how
// many are wanted, milliseconds until the window is over.
const quotaText = `
local used = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
local n = math.min(tonumber(ARGV[2]), tonumber(ARGV[1]) - used)
if n < 1 then
  return {0, 0, 0, 0}
end
redis.call('INCRBY', KEYS[1], n)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {n, tonumber(ARGV[1]) - used - n, 0, 0}
`

func newScript(m meter) *redis.Script {
	if _, ok := m.(*quota); ok {
		return redis.NewScript(quotaText)
	}
	return redis.NewScript(rateText)
}
