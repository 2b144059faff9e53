package bandwidthlimit

import (
	"context"
	"sync"
	"time"

	"github.com/weirproxy/weir/stream"
)

// way is one direction of an exchange. One goroutine at a time moves bytes on it.
type way struct {
	pace   *pace
	key    uint64
	ctx    context.Context // ends the exchange, and so every wait
	closed chan struct{}   // so does Close
	timer  *time.Timer     // nil before the first wait
}

func newWay(ctx context.Context, p *pace, key uint64, closed chan struct{}) way {
	return way{pace: p, key: key, ctx: ctx, closed: closed}
}

// passed charges n bytes and waits until they are due.
func (w *way) passed(n int) error {
	wait := w.pace.charge(w.key, n)
	if wait == 0 {
		return nil
	}
	if w.timer == nil {
		w.timer = time.NewTimer(wait)
	} else {
		w.timer.Reset(wait)
	}
	select {
	case <-w.timer.C:
		return nil
	case <-w.ctx.Done():
		w.timer.Stop()
		return stream.Faultf(stream.ClientGone, stream.RetryNever, "bandwidth_limit: the exchange ended while its content waited: %w", context.Cause(w.ctx))
	case <-w.closed:
		w.timer.Stop()
		return stream.Faultf(stream.ClientGone, stream.RetryNever, "bandwidth_limit: the body was closed while its content waited")
	}
}

// paced is a body whose reader waits.
type paced struct {
	stream.Body
	way  way
	once sync.Once
}

var (
	_ stream.Announcer = (*paced)(nil)
	_ stream.Awaiter   = (*paced)(nil)
	_ stream.Duplex    = (*tunnel)(nil)
	_ stream.Awaiter   = (*tunnel)(nil)
)

func (b *paced) Read(p []byte) (int, error) {
	if len(p) > b.way.pace.chunk {
		p = p[:b.way.pace.chunk]
	}
	n, err := b.Body.Read(p)
	if n > 0 {
		if late := b.way.passed(n); late != nil {
			return 0, late
		}
	}
	return n, err
}

// Close also ends a Read that waits.
func (b *paced) Close() error {
	b.once.Do(func() { close(b.way.closed) })
	return b.Body.Close()
}

// Announced is what the source announces.
func (b *paced) Announced() string {
	if a, ok := b.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await waits for the source, not for the pace: Read does that.
func (b *paced) Await() error { return await(b.Body) }

func await(b stream.Body) error {
	if a, ok := b.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}

// tunnel is paced both ways. It never shows its socket: nothing may go past it.
type tunnel struct {
	stream.Duplex
	up, down  way // pace nil: at any speed
	datagrams bool
	once      sync.Once
	closed    chan struct{}
}

func (s *service) tunnel(ctx context.Context, key uint64, d stream.Duplex, datagrams bool) stream.Duplex {
	closed := make(chan struct{})
	return &tunnel{
		Duplex: d, datagrams: datagrams, closed: closed,
		up: newWay(ctx, s.request, key, closed), down: newWay(ctx, s.response, key, closed),
	}
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.down.pace == nil {
		return t.Duplex.Read(p)
	}
	if len(p) > t.down.pace.chunk && !t.datagrams {
		p = p[:t.down.pace.chunk]
	}
	n, err := t.Duplex.Read(p)
	if n > 0 {
		if late := t.down.passed(n); late != nil {
			return 0, late
		}
	}
	return n, err
}

func (t *tunnel) Write(p []byte) (written int, err error) {
	if t.up.pace == nil {
		return t.Duplex.Write(p)
	}
	for len(p) > 0 && err == nil {
		part := p
		if len(part) > t.up.pace.chunk && !t.datagrams {
			part = p[:t.up.pace.chunk]
		}
		if err = t.up.passed(len(part)); err != nil {
			break
		}
		var n int
		n, err = t.Duplex.Write(part)
		written, p = written+n, p[n:]
	}
	return written, err
}

func (t *tunnel) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Duplex.Close()
}

func (t *tunnel) Await() error { return await(t.Duplex) }
