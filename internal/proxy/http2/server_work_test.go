package http2

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Workers that nobody needs any more go home; a connection that is idle has none.
func TestWorkersGoHome(t *testing.T) {
	var arrived sync.WaitGroup
	arrived.Add(50)
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		arrived.Done()
		arrived.Wait() // all at once
		return textResponse(200, "ok"), nil
	}))
	c := e.dial()
	for i := range 50 {
		c.headers(uint32(2*i+1), true, getHead...)
	}
	e.exchange(49)
	var conn *serverConn
	e.Server.mu.Lock()
	for conn = range e.conns {
	}
	e.Server.mu.Unlock()
	parked := func() int {
		conn.out.mu.Lock()
		defer conn.out.mu.Unlock()
		return len(conn.parked)
	}
	for deadline := time.Now().Add(5 * time.Second); parked() < 50; {
		if time.Now().After(deadline) {
			t.Fatalf("%d workers wait, want 50", parked())
		}
	}
	conn.probe(0)
	if n := parked(); n != 0 {
		t.Errorf("%d workers of an idle connection", n)
	}
	conn.workers.Wait() // they are gone, not only out of the list
}

// Of those who wait for the window of the connection, the most urgent sends
// first, and the others in the order in which they came.
func TestUrgency(t *testing.T) {
	var o outbox
	o.init(nil, stream.PhaseWrite)
	o.window = 0
	var order []uint32
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, urgency := range []uint8{3, 3, 1, 7} {
		s := new(sender)
		o.mu.Lock()
		o.open(s, uint32(i))
		s.urgency = urgency
		o.mu.Unlock()
		wg.Go(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			for o.allow(s, 10) == 0 {
				o.await(s)
			}
			mu.Lock()
			order = append(order, s.id)
			mu.Unlock()
		})
		for { // it waits
			o.mu.Lock()
			queued := s.queued
			o.mu.Unlock()
			if queued {
				break
			}
		}
	}
	for range 4 {
		o.mu.Lock()
		o.credit(nil, 10)
		o.mu.Unlock()
		for {
			o.mu.Lock()
			taken := o.window == 0
			o.mu.Unlock()
			if taken {
				break
			}
		}
	}
	wg.Wait()
	if want := [4]uint32{2, 0, 1, 3}; len(order) != 4 || [4]uint32(order) != want {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestUrgencyOf(t *testing.T) {
	for field, want := range map[string]uint8{
		"": 3, "u=0": 0, "u=7, i": 7, "i, u=5": 5, "i,u=2": 2, "u=8": 3, "u=": 3, "xu=1": 3, "u": 3,
	} {
		if got := urgency(field); got != want {
			t.Errorf("urgency(%q) is %d, want %d", field, got, want)
		}
	}
}

// A child of the context of an exchange costs no goroutine, ends with it, and
// can leave it.
func TestExchangeContext(t *testing.T) {
	var goes sync.WaitGroup
	x := &exchangeContext{parent: context.Background(), spawn: func(f func()) { goes.Go(f) }}
	child, cancel := context.WithTimeout(x, time.Hour)
	defer cancel()
	left, leave := context.WithCancel(x)
	leave()
	if len(x.after) != 1 || left.Err() == nil || x.Err() != nil {
		t.Errorf("%d children are told, want 1", len(x.after))
	}
	x.cancel()
	x.cancel()
	<-x.Done()
	<-child.Done()
	goes.Wait()
	if !errors.Is(x.Err(), context.Canceled) || !errors.Is(child.Err(), context.Canceled) {
		t.Errorf("errors %v, %v", x.Err(), child.Err())
	}
	late, cancel := context.WithCancel(x)
	defer cancel()
	<-late.Done()
	goes.Wait()
}
