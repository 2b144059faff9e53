package route

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// observation is what a comparison is told of one request.
type observation struct {
	comparison Comparison
	arm        canary.Arm
	took       time.Duration // until the head of the response
}

func (o *observation) note(failed bool, now time.Time) {
	o.comparison.Observe(o.arm, failed, o.took, now)
}

// watch notes how a response is, at once if that is known by now. Else it is at
// the end of its content: whether that comes in whole, and with which status of
// gRPC.
func (o *observation) watch(req *stream.Request, resp *stream.Response, now time.Time) {
	switch _, tunnel := resp.Body.(stream.Duplex); {
	case resp.Status >= 500:
		o.note(true, now)
		return
	case tunnel:
		o.note(false, now)
		return
	}
	if code, ok := stream.GRPCStatus(&resp.Header); ok && req.GRPC == stream.GRPCCall {
		o.note(grpcstatus.IsFailure(code), now)
		return
	}
	if whole, ok := resp.Body.(stream.Whole); ok && req.GRPC != stream.GRPCCall {
		if _, inMemory := whole.Bytes(); inMemory {
			o.note(false, now)
			return
		}
	}
	resp.Body = &watched{Body: resp.Body, observation: *o, req: req} // allocated for what is more than a head and a little
}

// watched is content of which the end is noted, once.
type watched struct {
	stream.Body
	observation
	req  *stream.Request
	over atomic.Bool // Close may come while another goroutine reads
}

var (
	_ stream.Prefetcher = (*watched)(nil)
	_ stream.Announcer  = (*watched)(nil)
	_ stream.Awaiter    = (*watched)(nil)
)

// Read implements stream.Body.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Body.Read(p)
	switch {
	case err == io.EOF:
		w.ended(true)
	case err != nil:
		w.broke(err)
	}
	return n, err
}

// Bytes implements stream.Whole.
func (w *watched) Bytes() ([]byte, bool) {
	if whole, ok := w.Body.(stream.Whole); ok {
		return whole.Bytes()
	}
	return nil, false
}

// Prefetch implements stream.Prefetcher.
func (w *watched) Prefetch(limit int) error {
	p, ok := w.Body.(stream.Prefetcher)
	if !ok {
		return nil
	}
	err := p.Prefetch(limit)
	if err != nil {
		w.broke(err)
	}
	return err
}

// Announced implements stream.Announcer.
func (w *watched) Announced() string {
	if a, ok := w.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await implements stream.Awaiter.
func (w *watched) Await() error {
	a, ok := w.Body.(stream.Awaiter)
	if !ok {
		return nil
	}
	err := a.Await()
	if err != nil {
		w.broke(err)
	}
	return err
}

// Close implements stream.Body. Whoever needs no more need not have read to the
// end.
func (w *watched) Close() error {
	w.ended(false)
	return w.Body.Close()
}

// ended notes content without a fault. A call of gRPC that its client gave up
// has no status, and says nothing.
func (w *watched) ended(whole bool) {
	if w.over.Swap(true) {
		return
	}
	failed := false
	if w.req.GRPC == stream.GRPCCall {
		code, ok := stream.GRPCStatus(w.Trailer())
		if !ok && !whole {
			return
		}
		failed = !ok || grpcstatus.IsFailure(code)
	}
	w.note(failed, time.Now())
}

// broke notes content that broke off, unless it is the client that did.
func (w *watched) broke(err error) {
	if speaksOf(stream.AsFault(err)) && !w.over.Swap(true) {
		w.note(true, time.Now())
	}
}
