package fault

import (
	"context"
	"io"
	"time"

	"github.com/weirproxy/weir/stream"
)

// held is a body under a fault, which is over when the body is closed.
type held struct {
	stream.Body
	release func()
}

func (b *held) Close() error {
	if b.release != nil {
		b.release()
		b.release = nil
	}
	return b.Body.Close()
}

// Announced implements stream.Announcer.
func (b *held) Announced() string {
	if a, ok := b.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

func (b *held) await() error {
	if a, ok := b.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}

// cutBody breaks off behind so many bytes. The head has announced the whole
// length, or none, so that the client notices.
type cutBody struct {
	held
	left  int64
	count func() // once, when it has broken off
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		if b.count != nil {
			b.count()
			b.count = nil
		}
		return 0, &stream.Fault{Kind: stream.FaultInjected, Cause: errTruncated}
	}
	n, err := b.Body.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// Await implements stream.Awaiter.
func (b *cutBody) Await() error {
	if b.left == 0 {
		return nil
	}
	return b.await()
}

// perSecond is how many pieces of a slow body pass in a second.
const perSecond = 10

// slowBody lets bytes through at a pace, in pieces. When the drill is over the
// rest comes as it is.
type slowBody struct {
	held
	ctx   context.Context // of the exchange
	drill *drill
	rate  int64 // bytes per second
	due   time.Time
}

// pace waits until the next piece is due.
func (b *slowBody) pace() (free bool, err error) {
	now := time.Now()
	if !b.drill.runs(now) {
		return true, nil
	}
	if f := b.drill.wait(b.ctx, b.due.Sub(now)); f != nil {
		return false, f
	}
	return false, nil
}

func (b *slowBody) Read(p []byte) (int, error) {
	free, err := b.pace()
	if err != nil {
		return 0, err
	}
	if free {
		return b.Body.Read(p)
	}
	piece := max(1, b.rate/perSecond)
	n, err := b.Body.Read(p[:min(int64(len(p)), piece)])
	if now := time.Now(); b.due.Before(now) { // the service was slower than we are
		b.due = now
	}
	b.due = b.due.Add(time.Duration(n) * time.Second / time.Duration(b.rate))
	return n, err
}

// Await implements stream.Awaiter: the wait holds no memory to read into.
func (b *slowBody) Await() error {
	if _, err := b.pace(); err != nil {
		return err
	}
	return b.await()
}

// spoil puts the fault into a response of the service. False: there is nothing
// to spoil.
func (a *aborter) spoil(ctx context.Context, resp *stream.Response, d *drill, count func()) bool {
	if _, tunnel := resp.Body.(stream.Duplex); tunnel || resp.Length == 0 || resp.Status == 204 || resp.Status == 304 {
		return false
	}
	if resp.Length < 0 {
		if w, ok := resp.Body.(stream.Whole); ok {
			if content, all := w.Bytes(); all {
				resp.Length = int64(len(content)) // announced: else its end would be that of the content
			}
		}
	}
	if a.kind == bySlow {
		if resp.Length == 0 {
			return false
		}
		count()
		resp.Header.AddID(stream.ProxyStatus, noteSlow)
		resp.Body = &slowBody{held: held{resp.Body, d.release}, ctx: ctx, drill: d, rate: a.rate}
		return true
	}
	if resp.Length >= 0 && resp.Length <= a.truncate {
		return false
	}
	resp.Body = &cutBody{held: held{resp.Body, d.release}, left: a.truncate, count: count}
	return true
}

var (
	_ stream.Awaiter   = (*cutBody)(nil)
	_ stream.Awaiter   = (*slowBody)(nil)
	_ stream.Announcer = (*cutBody)(nil)
	_ io.Closer        = (*held)(nil)
)
