// Package tunneltest holds what the tests of every codec ask of its tunnels.
package tunneltest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Gate is a request body whose Close waits to be let through.
type Gate struct {
	stream.Body
	reached, open chan struct{}
	armed, passed atomic.Bool
}

// NewGate makes a gate that is open until CloseTwice.
func NewGate() *Gate {
	return &Gate{Body: stream.NoBody, reached: make(chan struct{}), open: make(chan struct{})}
}

// Close implements stream.Body.
func (g *Gate) Close() error {
	if g.armed.Load() {
		close(g.reached)
		<-g.open
		g.passed.Store(true)
	}
	return nil
}

// CloseTwice closes d, the tunnel of the request, twice at once. Neither call may
// return before the request is not used any more: its owner makes another one of
// it.
func (g *Gate) CloseTwice(t testing.TB, d stream.Body) {
	t.Helper()
	g.armed.Store(true)
	returned := make(chan bool, 2)
	for range 2 {
		go func() {
			d.Close()
			returned <- g.passed.Load()
		}()
	}
	<-g.reached
	select {
	case <-returned:
		t.Error("Close returned while the other call still used the request")
	case <-time.After(20 * time.Millisecond): // nothing can be waited for: it must not happen
	}
	close(g.open)
	if passed := <-returned; !passed {
		t.Error("Close returned before the exchange was over")
	}
}
