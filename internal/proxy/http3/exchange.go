package http3

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errInterims     = errors.New("too many interim responses")
	errNoResponse   = errors.New("the upstream ended the stream without a response")
	errReplyClosed  = errors.New("the response body is closed")
	errDeadlinePast = errors.New("the deadline of the attempt had passed before it began")
)

// maxInline is the largest request body that leaves in one write with its head.
const maxInline = 8 << 10

// deadlineNear is when the coarse watch of a deadline is not exact enough.
const deadlineNear = 2 * time.Second

// exchange is one request and its response on an upstream stream; it is the
// body of that response, too.
type exchange struct {
	c    *Client
	ctx  context.Context
	req  *stream.Request
	str  *quic.Stream
	in   incoming
	post *post
	up   upload
	resp stream.Response
	pace pace
	sent bool // something was given to the connection to send

	mu     sync.Mutex // one Read at a time; Close waits for it
	fault  error
	closed atomic.Bool
	tunnel bool

	sentEnd atomic.Bool // of a tunnel: nothing more goes to the upstream
}

func (x *exchange) serve() (*stream.Response, *stream.Fault) {
	if x.ctx.Err() != nil {
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}
	x.in.init(x.str, &x.c.score, &x.c.d.cfg.Limits, true)
	x.post = x.c.posts.take(x.expire)
	if f := x.send(); f != nil {
		return nil, f
	}
	return x.receive()
}

// expire runs on the dog's goroutine.
func (x *exchange) expire(uint8, watchdog.Verdict) { _ = x.str.SetDeadline(longAgo) }

// send writes the head, and the body with it when that is small.
func (x *exchange) send() *stream.Fault {
	req := x.req
	deadline := req.Deadline
	now := time.Now()
	if !deadline.IsZero() && !now.Before(deadline) {
		return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent, Cause: errDeadlinePast}
	}
	if p, ok := req.Body.(stream.Prefetcher); ok {
		if err := p.Prefetch(maxInline); err != nil {
			return stream.AsFault(err)
		}
	}
	x.tunnel = req.Upgrade != "" || req.Method == "CONNECT"
	if req.Upgrade != "" {
		if f := x.connectAllowed(deadline); f != nil {
			return f
		}
	}
	var content []byte
	inline, length := req.Length == 0, req.Length
	if w, ok := req.Body.(stream.Whole); ok && req.Length != 0 {
		if rest, ok := w.Bytes(); ok && len(rest) <= maxInline && (length < 0 || int64(len(rest)) == length) {
			content, inline, length = rest, true, int64(len(rest))
		}
	}
	p := pages.Get().(*page)
	defer pages.Put(p)
	out, err := appendRequest(p[:frameRoom], req, length)
	if err != nil {
		return &stream.Fault{Kind: stream.Internal, Cause: err}
	}
	out = headersFrame(out)
	if len(content) > 0 {
		out = quicvarint.Append(append(out, frameData), uint64(len(content)))
		out = append(out, content...)
	}
	if x.c.refused(x.str) {
		return x.givenBack()
	}
	x.post.EnterUntil(uint8(stream.PhaseUpstreamSend), x.ctx, deadline)
	n, err := x.str.Write(out)
	x.sent = n > 0
	if err != nil {
		// The upstream may answer without the request; what it said is read then.
		if _, stopped := resetCode(err); !stopped {
			return x.headFault(err)
		}
	}
	switch {
	case x.tunnel:
	case inline:
		_ = x.str.Close() // fails only when the upstream stopped it
		req.Body.Close()
	default:
		if !deadline.IsZero() { // the time left counts from the end of the upload
			x.up.budget, deadline = deadline.Sub(now), time.Time{}
		}
		x.up.start(x)
	}
	if !deadline.IsZero() && deadline.Sub(now) < deadlineNear {
		_ = x.str.SetReadDeadline(deadline)
	}
	x.post.EnterUntil(uint8(stream.PhaseUpstreamHead), x.ctx, deadline)
	return nil
}

// connectAllowed waits for SETTINGS, before which an extended CONNECT must not
// be sent (RFC 8441 section 3).
func (x *exchange) connectAllowed(deadline time.Time) *stream.Fault {
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-x.c.settled:
	case <-x.ctx.Done():
		return &stream.Fault{Kind: stream.ClientGone}
	case <-timeout:
		return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent}
	case <-x.c.Done():
		return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent}
	}
	if !x.c.connectEnabled {
		return &stream.Fault{Kind: stream.UpgradeRefused, Cause: errNoConnect}
	}
	return nil
}

// receive reads heads until the final one.
func (x *exchange) receive() (*stream.Response, *stream.Fault) {
	s := takeSection()
	defer s.release()
	var fx facts
	for interims := 0; ; interims++ {
		if _, err := x.in.head(s); err != nil {
			return nil, x.headFault(err)
		}
		if f := readResponse(s, &fx, &x.resp); f != nil {
			x.str.CancelRead(codeMessageError)
			return nil, f
		}
		if x.resp.Status >= 200 {
			break
		}
		if f := x.passInterim(interims); f != nil {
			return nil, f
		}
	}
	return x.headDone(&fx)
}

// passInterim passes an interim response on. 100 (Continue) answers nothing
// that we sent: the server half tells the client itself.
func (x *exchange) passInterim(before int) *stream.Fault {
	switch {
	case before >= maxInterim:
		return responseSide.bad(errInterims)
	case x.resp.Status == 100 || x.req.Interim == nil:
		return nil
	}
	if err := x.req.Interim(x.resp.Status, &x.resp.Header); err != nil {
		return stream.AsFault(err)
	}
	return nil
}

// headDone ends the phase of waiting for the head.
func (x *exchange) headDone(fx *facts) (*stream.Response, *stream.Fault) {
	x.up.headIsHere()
	_, v := x.post.Fired()
	if !x.post.Rest() {
		return nil, x.verdictFault(v)
	}
	_ = x.str.SetReadDeadline(noDeadline)
	resp := &x.resp
	resp.Length = fx.length
	noBody := bodiless(x.req.Method, resp.Status)
	x.pace.limit = &x.c.d.cfg.Phases[stream.PhaseUpstreamBody]
	if x.tunnel {
		if resp.Status < 300 {
			return x.switched(), nil
		}
		_ = x.str.Close()
	}
	x.in.begin(fx.length, noBody)
	if resp.Status == 204 {
		resp.Length = 0
	}
	if x.in.atEnd() {
		if err := x.in.finish(); err != io.EOF {
			return nil, stream.AsFault(err)
		}
		if !noBody {
			resp.Length = 0
		}
	}
	resp.Body = (*reply)(x)
	return resp, nil
}

// switched makes the tunnel of a success to CONNECT.
func (x *exchange) switched() *stream.Response {
	x.in.begin(-1, false)
	x.in.state = inTunnel
	if x.req.Upgrade != "" {
		x.resp.Status = 101
	}
	x.resp.Length, x.resp.Body = -1, &tunnel{x: x, over: make(chan struct{})}
	x.post.EnterUntil(uint8(stream.PhaseTunnel), x.ctx, noDeadline)
	return &x.resp
}

// retry is what is known of the request when no response has come.
func (x *exchange) retry() stream.Retry {
	if x.sent {
		return stream.RetryIdempotent
	}
	return stream.RetryUnsent
}

// verdictFault is a verdict of the watchdog before the head of the response.
func (x *exchange) verdictFault(v watchdog.Verdict) *stream.Fault {
	if v == watchdog.Canceled {
		return &stream.Fault{Kind: stream.ClientGone}
	}
	return &stream.Fault{Kind: stream.UpstreamTimeout, Retry: x.retry()}
}

// headFault says in our words why no head came. A request body that broke off
// is the client's fault, whatever the upstream made of it.
func (x *exchange) headFault(err error) *stream.Fault {
	if f := x.up.downstreamFault(); f != nil {
		return f
	}
	if _, v := x.post.Fired(); v != watchdog.None {
		return x.verdictFault(v)
	}
	if f, ok := err.(*stream.Fault); ok { // too large, or no message
		x.str.CancelRead(codeMessageError)
		return f
	}
	var ce *connError
	if errors.As(err, &ce) {
		x.c.end(err)
		return &stream.Fault{Kind: stream.ResponseMalformed, Retry: stream.RetryIdempotent, Cause: err}
	}
	if x.c.refused(x.str) {
		return x.givenBack()
	}
	f := &stream.Fault{Kind: stream.UpstreamClosed, Retry: x.retry(), Cause: err}
	code, reset := resetCode(err)
	switch {
	case reset:
		x.c.d.Stats.Resets.Add(1)
		if f.Kind = stream.UpstreamReset; code == codeRequestRejected {
			x.c.d.Stats.Unprocessed.Add(1)
			f.Retry = stream.RetryUnsent // RFC 9114 section 4.1.1
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Kind, f.Cause = stream.UpstreamTimeout, nil
	case err == io.EOF:
		f.Cause = errNoResponse
	}
	return f
}

// givenBack is the fault of a request that the upstream will not process: it said so
// by GOAWAY.
func (x *exchange) givenBack() *stream.Fault {
	x.c.d.Stats.Unprocessed.Add(1)
	return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errGoAway}
}

// close ends the exchange. responded says that Serve returned a response.
func (x *exchange) close(responded bool) {
	done := x.in.state == inDone && x.fault == nil
	if !done {
		x.c.d.Stats.Canceled.Add(1)
		x.str.CancelRead(codeRequestCancelled)
	}
	complete := x.up.end()
	if x.tunnel && (!done || !x.sentEnd.Load()) || !complete || !responded {
		x.str.CancelWrite(codeRequestCancelled) // takes back what is not acknowledged yet
	}
	x.req.Body.Close()
	if x.post != nil {
		x.c.posts.give(x.post)
	}
	if responded && x.req.Exchange.UpstreamEnd.IsZero() {
		x.req.Exchange.UpstreamEnd = time.Now()
	}
	x.c.finish(x)
	if responded && x.c.ended != nil {
		x.c.ended()
	}
}
