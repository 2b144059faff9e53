//go:build !race

// One goroutine, a million requests: the race detector would find nothing, for
// a minute and a half.

package pool

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// wire is how long a byte travels between proxy and upstream in the model.
const wire = 10 * time.Millisecond

// simConn is a connection in virtual time. It is its own socket.
type simConn struct {
	net.Conn // never called
	closes   time.Time
}

func (*simConn) Close() error { return nil }

// model drives a pool in virtual time: requests come in bursts with pauses of
// 1 ms to a minute between them, and the upstream closes a connection that has
// been idle for idle(). A request on a connection that the upstream has closed
// without the proxy having seen it fails; nothing is sent twice.
type model struct {
	r      *rand.Rand
	now    time.Time
	swept  time.Time
	pool   *Pool[*simConn]
	idle   func() time.Duration
	failed int
	shut   []*simConn // idle now, for restarts
}

func newModel(seed uint64, cfg Config) *model {
	m := &model{r: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	g := NewGroup(cfg)
	g.armed.Store(true) // the model sweeps, not the clock
	m.swept = m.now
	ep := endpoint.New(endpoint.Spec{Network: "tcp", Address: "a", Weight: 1}, endpoint.NewLoad(0, 0), m.now)
	m.pool = New(g, ep, func(context.Context, time.Time, func(bool)) (*simConn, net.Conn, error) {
		c := new(simConn)
		return c, c, nil
	})
	m.pool.quiet = func(nc net.Conn) bool { return m.now.Before(nc.(*simConn).closes.Add(wire)) }
	return m
}

// burst is n requests at once and the pause behind them.
func (m *model) burst(n int) {
	leases := make([]*Lease[*simConn], n)
	for i := range leases {
		near := m.r.IntN(8)
		l := m.pool.take(near%len(m.pool.shards), m.now)
		if l == nil {
			l, _ = m.pool.connect(context.Background(), near%len(m.pool.shards), time.Time{}, m.pool.dial)
		} else if !m.now.Add(wire).Before(l.Conn.closes) {
			m.failed++
			m.pool.noteClose(l.idled)
			l.discard(l.serving())
			l, _ = m.pool.connect(context.Background(), near%len(m.pool.shards), time.Time{}, m.pool.dial)
		}
		leases[i] = l
	}
	m.pass(2*wire + time.Millisecond)
	m.shut = m.shut[:0]
	for _, l := range leases {
		l.phase.Store(phaseOver)
		l.Conn.closes = m.now.Add(m.idle() - wire) // the upstream counts from the end of its response
		m.pool.put(l, m.now)
		m.shut = append(m.shut, l.Conn)
	}
	m.pass(time.Duration(float64(time.Millisecond) * math.Pow(60_000, m.r.Float64())))
}

// pass lets time go by, with the sweeps that fall into it.
func (m *model) pass(d time.Duration) {
	end := m.now.Add(d)
	for next := m.swept.Add(tick); !next.After(end); next = m.swept.Add(tick) {
		m.now, m.swept = next, next
		if len(m.pool.closes) > 0 || m.pool.idleCount() > 0 {
			m.pool.sweep(m.now)
		}
	}
	m.now = end
}

// requests makes n requests and returns how many failed.
func (m *model) requests(n int) int {
	before := m.failed
	for n > 0 {
		k := 1 + m.r.IntN(8)
		m.burst(k)
		n -= k
	}
	return m.failed - before
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

var defaults = Config{MaxIdle: 100, Idle: 90 * time.Second, Learn: true}

// TestNoFailuresAfterWarmUp is the promise of the learned horizon, without any
// retry to help: an upstream whose idle time-out is one at random, and one that
// draws another for each idle time.
func TestNoFailuresAfterWarmUp(t *testing.T) {
	const warmUp, requests = 20_000, 1_000_000
	t.Run("a time-out at random", func(t *testing.T) {
		const upstreams = 20
		for seed := range uint64(upstreams) {
			m := newModel(seed, defaults)
			timeout := seconds(1 + 59*m.r.Float64())
			m.idle = func() time.Duration { return timeout }
			m.requests(warmUp)
			if n := m.requests(requests / upstreams); n > 0 {
				t.Errorf("time-out %v: %d requests failed", timeout, n)
			}
			limit, ok := m.pool.Horizon()
			if !ok || limit > timeout || limit < timeout*2/5 {
				t.Errorf("time-out %v: horizon %v (%v)", timeout, limit, ok)
			}
		}
	})
	t.Run("another each time", func(t *testing.T) {
		m := newModel(42, defaults)
		m.idle = func() time.Duration { return seconds(1 + 59*m.r.Float64()) }
		m.requests(warmUp)
		if n := m.requests(requests); n > 0 {
			t.Errorf("%d requests failed", n)
		}
		if limit, ok := m.pool.Horizon(); !ok || limit > time.Second {
			t.Errorf("horizon %v (%v), want less than the lowest time-out of 1 s", limit, ok)
		}
	})
	t.Run("the model can fail", func(t *testing.T) {
		cfg := defaults
		cfg.Learn = false
		m := newModel(42, cfg)
		m.idle = func() time.Duration { return 5 * time.Second }
		if n := m.requests(100_000); n < 20 {
			t.Errorf("only %d requests failed without learning: the other tests prove little", n)
		}
	})
}

// TestHorizonStaysQuiet: an upstream that keeps its connections, but restarts
// several times a day, is not taken for one that closes idle ones.
func TestHorizonStaysQuiet(t *testing.T) {
	for seed := range uint64(3) {
		m := newModel(seed, defaults)
		m.idle = func() time.Duration { return 100 * 24 * time.Hour }
		for range 20 {
			m.requests(10_000) // some four hours
			if limit, ok := m.pool.Horizon(); ok {
				t.Fatalf("seed %d: horizon %v although nothing is closed", seed, limit)
			}
			m.burst(8)
			m.burst(4)
			m.restart()
		}
		if retired := m.pool.group.Stats.Retired.Load(); retired == 0 {
			t.Error("no connection was ever retired: the model does not reach the limit of the document")
		}
	}
}

// restart closes all idle connections at once.
func (m *model) restart() {
	for i := range m.pool.shards {
		for _, l := range m.pool.shards[i].idle {
			l.Conn.closes = m.now.Add(-wire)
		}
	}
	m.pass(time.Second)
}

// TestHorizonFollowsChanges both ways.
func TestHorizonFollowsChanges(t *testing.T) {
	m := newModel(7, defaults)
	timeout := 50 * time.Second
	m.idle = func() time.Duration { return timeout }
	m.requests(20_000)
	timeout = 5 * time.Second
	if n := m.requests(5_000); n > 5 {
		t.Errorf("%d requests failed after the time-out became shorter", n)
	}
	if limit, _ := m.pool.Horizon(); limit > 5*time.Second {
		t.Errorf("horizon %v for a time-out of 5 s", limit)
	}
	timeout = 50 * time.Second
	began := m.now
	for {
		if n := m.requests(1000); n > 0 {
			t.Errorf("%d requests failed after the time-out became longer", n)
		}
		if limit, _ := m.pool.Horizon(); limit > 30*time.Second {
			break
		}
		if m.now.Sub(began) > 7*24*time.Hour {
			limit, _ := m.pool.Horizon()
			t.Fatalf("horizon still %v a week after the time-out became 50 s", limit)
		}
	}
	t.Logf("learned again after %v", m.now.Sub(began).Round(time.Minute))
}
