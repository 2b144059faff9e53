package http2

import (
	"context"
	"sync"
	"time"
)

// exchange is what one request hands out that others may keep for too long: its
// context and its body. It is made anew for each request, so that nobody
// reaches the next request on the same stream object through it.
type exchange struct {
	ctx  exchangeContext
	body requestBody
}

// exchangeContext is the context of one exchange. Its channel is made when
// somebody asks for it; most exchanges end before. The connection, which has
// the parent, ends all its exchanges when the parent ends.
type exchangeContext struct {
	parent context.Context
	spawn  func(func())

	mu    sync.Mutex
	done  chan struct{}
	err   error
	after []*afterFunc
}

type afterFunc struct{ run func() }

func (x *exchangeContext) Deadline() (time.Time, bool) { return x.parent.Deadline() }
func (x *exchangeContext) Value(key any) any           { return x.parent.Value(key) }

func (x *exchangeContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

func (x *exchangeContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.err != nil {
			close(x.done)
		}
	}
	return x.done
}

// AfterFunc is what package context asks of a context that is not its own, so
// that a child costs no goroutine.
func (x *exchangeContext) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		x.spawn(f)
		return func() bool { return false }
	}
	a := &afterFunc{run: f}
	x.after = append(x.after, a)
	return func() bool { return x.forget(a) }
}

func (x *exchangeContext) forget(a *afterFunc) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, other := range x.after {
		if other == a {
			x.after = append(x.after[:i], x.after[i+1:]...)
			return true
		}
	}
	return false
}

// cancel ends the context, once.
func (x *exchangeContext) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err = context.Canceled
	if x.done != nil {
		close(x.done)
	}
	for _, a := range x.after {
		x.spawn(a.run)
	}
	x.after = nil
}
