package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weirproxy/weir/stream"
)

// waiter is a request that waits for a place.
type waiter struct {
	after time.Time  // see Mux.take
	got   chan grant // one message, once it is out of the queue
}

// grant is what a waiter gets: a place, the task to open a connection, or the
// reason why there will be none.
type grant struct {
	conn *carrier
	lead bool
	err  error
}

// await gets a place that was not there at once.
func (m *Mux) await(ctx context.Context, req *stream.Request) (*carrier, error) {
	if f := m.endpoint.Wait(); f != nil {
		m.group.Stats.Crowded.Add(1)
		return nil, f
	}
	defer m.endpoint.Waited()
	w := &waiter{}
	if req.Fresh {
		w.after = req.Exchange.UpstreamStart
		if w.after.IsZero() {
			w.after = time.Now()
		}
	}
	if c, lead := m.enqueue(w); c != nil {
		return c, nil
	} else if lead {
		return m.lead(ctx, req.Deadline)
	}
	m.group.Stats.Waited.Add(1)
	g := m.wait(ctx, w, req.Deadline)
	if g.lead {
		return m.lead(ctx, req.Deadline)
	}
	return g.conn, g.err
}

// enqueue puts w into the queue, unless a place is there after all or w is to
// open a connection. waiting goes up before the last look: whoever frees a
// place after that look sees it.
func (m *Mux) enqueue(w *waiter) (c *carrier, lead bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting.Add(1)
	if c = m.take(w.after); c == nil && m.dialing {
		w.got = make(chan grant, 1)
		m.queue = append(m.queue, w)
		return nil, false
	}
	m.waiting.Add(-1)
	if c == nil {
		m.dialing = true
	}
	return c, c == nil
}

// wait is the one wait of this package that is not for a connection.
func (m *Mux) wait(ctx context.Context, w *waiter, deadline time.Time) grant {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	f := &stream.Fault{Retry: stream.RetryUnsent}
	select {
	case g := <-w.got:
		return g
	case <-ctx.Done():
		f.Kind, f.Cause = stream.ClientGone, context.Cause(ctx)
	case <-late:
		f.Kind, f.Cause = stream.ConnectTimeout, errNoPlace
	}
	if m.leaveQueue(w) {
		return grant{err: f}
	}
	g := <-w.got // it was granted meanwhile
	if g.lead {
		m.dialed(nil, true)
		return grant{err: f}
	}
	return g // a place is given back by the connection alone: by its Serve, which sees ctx and deadline
}

func (m *Mux) leaveQueue(w *waiter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.queue, w)
	if at < 0 {
		return false
	}
	m.queue = slices.Delete(m.queue, at, at+1)
	m.waiting.Add(-1)
	return true
}

// lead opens a connection for this request and for those that wait.
func (m *Mux) lead(ctx context.Context, deadline time.Time) (c *carrier, err error) {
	err = &stream.Fault{Kind: stream.Internal, Cause: errDialPanic}
	defer func() {
		own := ctx.Err() != nil || !deadline.IsZero() && !time.Now().Before(deadline)
		m.dialed(err, own)
	}()
	if c, err = m.open(ctx, deadline); isClosedToUs(err) && ctx.Err() == nil {
		c, err = m.open(ctx, deadline)
	}
	return c, err
}

// isClosedToUs tells whether a new connection had no place: its endpoint was
// most likely about to stop when it took it, and another connection gets to
// the one that takes over.
func isClosedToUs(err error) bool {
	f, ok := err.(*stream.Fault)
	return ok && errors.Is(f.Cause, errNoStreams)
}

// dialed ends the turn of whoever opened a connection: with success (err is
// nil), or with a failure, which is his own (his time was up), so that the next
// tries, or that of all.
func (m *Mux) dialed(err error, own bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dialing = false
	if err != nil && !own {
		for _, w := range m.queue {
			w.got <- grant{err: err}
		}
		m.waiting.Add(-int64(len(m.queue)))
		clear(m.queue)
		m.queue = m.queue[:0]
		return
	}
	m.grant()
	if len(m.queue) > 0 {
		m.dialing = true
		m.pop() <- grant{lead: true}
	}
}

// grantFreed hands out places that became free.
func (m *Mux) grantFreed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grant()
}

// grant hands out places to those who wait, in their order, but for those who
// need a new connection. m.mu is held.
func (m *Mux) grant() {
	kept := m.queue[:0]
	for i, w := range m.queue {
		c := m.take(w.after)
		switch {
		case c != nil:
			m.waiting.Add(-1)
			w.got <- grant{conn: c}
			continue
		case w.after.IsZero(): // and so for all behind that are like it
			kept = append(kept, m.queue[i:]...)
			clear(m.queue[len(kept):])
			m.queue = kept
			return
		}
		kept = append(kept, w)
	}
	clear(m.queue[len(kept):])
	m.queue = kept
}

func (m *Mux) pop() chan<- grant {
	w := m.queue[0]
	m.queue = slices.Delete(m.queue, 0, 1)
	m.waiting.Add(-1)
	return w.got
}
