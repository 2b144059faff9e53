package http2

import (
	"sync/atomic"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// The phases of health, in words of the watchdog.
const (
	healthQuiet uint8 = iota // waiting for a byte, for PingInterval
	healthAsked              // a PING is out
)

// health asks a connection on which nothing comes whether it lives. Its guard
// changes phase on the dog's goroutine alone; the goroutine that reads counts
// the bytes. So an upstream that dies is noticed after the interval and the
// timeout, and one that sends costs an addition now and then.
type health struct {
	c     *Client
	guard watchdog.Guard
	owed  atomic.Bool // a PING was not answered yet
}

// pingData tells our PING from an answer to something else.
const pingData = "weirping"

func (h *health) init(c *Client) {
	h.c = c
	if c.cfg.PingInterval <= 0 {
		return
	}
	h.guard.Enter(healthQuiet)
	c.cfg.Dog.Watch(&h.guard, c.cfg.health, h.expire, nil)
}

// expire runs on the dog's goroutine.
func (h *health) expire(phase uint8, _ watchdog.Verdict) {
	c := h.c
	switch {
	case phase == healthAsked && h.owed.Load():
		c.cfg.Stats.PingDead.Add(1)
		c.end(&stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryIdempotent, Cause: errSilent})
	case phase == healthQuiet && c.ask():
		h.guard.Enter(healthAsked)
	default:
		h.guard.Enter(healthQuiet)
	}
}

// ask sends a PING if requests are under way.
func (c *Client) ask() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if len(c.streams) == 0 || c.out.over != nil {
		return false
	}
	c.health.owed.Store(true)
	c.cfg.Stats.Pings.Add(1)
	c.out.begin()
	c.out.buf = appendPing(c.out.buf, 0, []byte(pingData))
	if !c.out.writing {
		c.cfg.Go(c.write)
	}
	return true
}
