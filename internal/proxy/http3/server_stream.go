package http3

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	longAgo    = time.Unix(1, 0) // a deadline that has passed
	noDeadline time.Time
)

// serverStream is one request and its response, on a goroutine of its own. It
// is made anew for each, so that whoever uses a part of it too late reaches
// nothing else.
type serverStream struct {
	c   *serverConn
	str *quic.Stream
	in  incoming
	req stream.Request

	ctx    context.Context
	cancel context.CancelFunc
	post   *post
	body   serverBody
	facts  facts

	page    *page
	out     []byte // what is to be written next; begins in page
	pace    pace
	sealing sync.Mutex
	sealed  bool // under sealing: the final response has begun
	told    bool // under sealing: 100 (Continue) was sent
	interim int  // under sealing
}

// serve is the life of the stream.
func (st *serverStream) serve() {
	c := st.c
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			st.str.CancelWrite(codeInternalError)
		}
		st.close()
	}()
	st.ctx, st.cancel = context.WithCancel(st.str.Context())
	st.post = c.posts.take(st.expire)
	st.in.init(st.str, &c.score, &c.cfg.Limits, false)
	st.req = stream.Request{
		Proto: stream.HTTP3, Body: stream.NoBody, Conn: c.facts, Client: c.facts.Remote.Addr(), Interim: st.sendInterim,
	}
	st.req.Exchange.Start = time.Now()
	if st.head() {
		if st.in.state == inTunnel {
			st.outlive()
		}
		st.exchange()
	}
}

// outlive gives a tunnel a context that does not end when our side of the stream
// does, as that of the stream: the client may still have something to say.
func (st *serverStream) outlive() {
	st.cancel()
	sending := st.str.Context()
	ctx, cancel := context.WithCancel(st.c.conn.Context())
	stop := context.AfterFunc(sending, func() {
		if !errors.Is(context.Cause(sending), quic.ErrStreamClosed) {
			cancel()
		}
	})
	st.ctx, st.cancel = ctx, func() {
		stop()
		cancel()
	}
}

// close gives everything back. The client gets the credit for another stream
// only now.
func (st *serverStream) close() {
	c := st.c
	if st.page != nil {
		pages.Put(st.page)
		st.page = nil
	}
	st.body.shut()
	if st.cancel != nil {
		st.cancel()
	}
	if st.post != nil {
		c.posts.give(st.post)
	}
	if !st.in.atEnd() || st.in.state != inDone {
		st.str.CancelRead(codeNoError)
	}
	_ = st.str.Close() // fails only when it was reset
	st.str.ReleaseStreamCredit()
	c.finish()
}

// expire runs on the dog's goroutine when a phase takes too long.
func (st *serverStream) expire(phase uint8, v watchdog.Verdict) {
	if v == watchdog.Shortened {
		st.c.cfg.Dog.Shortened.Add(1)
	}
	switch stream.Phase(phase) {
	case stream.PhaseWait:
		st.cancel()
	case stream.PhaseTunnel:
		st.cancel()
		_ = st.str.SetDeadline(longAgo)
	case stream.PhaseWrite:
		_ = st.str.SetWriteDeadline(longAgo)
	default:
		_ = st.str.SetReadDeadline(longAgo)
	}
}

func (st *serverStream) enter(p stream.Phase) bool { return st.post.Enter(uint8(p)) }

func (st *serverStream) fired() watchdog.Verdict {
	_, v := st.post.Fired()
	return v
}

// head reads the head. It reports false when the exchange is over.
func (st *serverStream) head() bool {
	st.enter(stream.PhaseHead)
	s := takeSection()
	defer s.release()
	size, err := st.in.head(s)
	st.req.Exchange.HeadRead, st.req.Exchange.HeadersIn = time.Now(), size
	if err == nil {
		if f := readRequest(s, &st.facts, &st.req, &st.c.cfg.Limits); f != nil {
			err = f
		}
	}
	if err == nil {
		err = st.framed()
	}
	if err != nil {
		return st.headFailed(err)
	}
	return st.earlyHead()
}

// framed settles whether there is content.
func (st *serverStream) framed() error {
	req := &st.req
	if req.Upgrade != "" || req.Method == "CONNECT" {
		st.in.begin(-1, false)
		st.in.state = inTunnel
		return nil
	}
	// Without Content-Length only the end of the stream tells, which a client may
	// send a moment later.
	if req.Length < 0 && (req.Method == "GET" || req.Method == "HEAD") {
		if err := st.in.awaitEnd(); err != nil {
			return err
		}
	}
	st.in.begin(req.Length, false)
	if st.in.atEnd() {
		if err := st.in.finish(); err != io.EOF {
			return err
		}
		req.Length, req.ExpectContinue = 0, false
		return nil
	}
	if req.Length != 0 {
		st.body.begin(st)
		req.Body = &st.body
	}
	return nil
}

// earlyHead judges a request that may have come as early data: only what may
// happen twice goes on before the handshake is over.
func (st *serverStream) earlyHead() bool {
	c := st.c
	if !c.early() {
		return true
	}
	switch st.req.Method {
	case "GET", "HEAD", "OPTIONS":
		if st.req.Upgrade == "" && st.req.Length == 0 {
			st.req.Early = true
			st.req.Header.AddID(stream.EarlyData, "1")
			c.srv.Stats.Early.Add(1)
			return true
		}
	}
	return c.handshaken(st.ctx)
}

// headFailed answers a request that could not be read.
func (st *serverStream) headFailed(err error) bool {
	c, req := st.c, &st.req
	if c.end(err) {
		return false
	}
	var f *stream.Fault
	if !errors.As(err, &f) {
		f = &stream.Fault{Kind: stream.ClientGone}
		switch {
		case st.fired() != watchdog.None:
			f.Kind = stream.HeadTimeout
		case err == io.EOF:
			st.str.CancelWrite(codeRequestIncomplete)
			fallthrough
		default:
			if c.score.add(pointsReset) != nil {
				c.conn.CloseWithError(codeExcessiveLoad, "requests given up")
			}
			c.srv.Stats.Resets.Add(1)
		}
	} else if c.end(c.score.add(pointsReset)) {
		return false
	}
	c.srv.Stats.Refused[f.Kind].Add(1)
	req.Body, req.Length = stream.NoBody, 0
	if f.Kind == stream.ClientGone {
		req.Exchange.Fault = f
		st.finish()
		return false
	}
	st.str.CancelRead(codeMessageError)
	resp := st.answer(f)
	st.respond(resp)
	resp.Body.Close()
	st.finish()
	return false
}

// exchange answers the request.
func (st *serverStream) exchange() {
	if !st.enter(stream.PhaseWait) {
		st.req.Exchange.Fault = &stream.Fault{Kind: stream.HeadTimeout}
		st.str.CancelWrite(codeRequestRejected)
		st.finish()
		return
	}
	resp := st.ask()
	written := true
	if f := st.req.Exchange.Fault; f.HangsUp() {
		st.hangUp(f)
	} else {
		written = st.respond(resp)
	}
	resp.Body.Close()
	_ = st.req.Body.Close()
	if !written {
		st.gaveUp()
	}
	st.finish()
}

// hangUp ends the exchange without a response.
func (st *serverStream) hangUp(f *stream.Fault) {
	st.seal()
	st.cut(f)
	code := quic.StreamErrorCode(codeInternalError)
	if f.Hangup == stream.HalfClose { // a stream cannot end without a head (RFC 9114 section 4.1)
		code = codeRequestCancelled
	}
	st.str.CancelWrite(code)
}

// gaveUp cuts the stream, so that the client does not take what it has for the
// whole, and counts it: a request that ends so cost more than it asked for.
func (st *serverStream) gaveUp() {
	c := st.c
	f := st.req.Exchange.Fault
	if f != nil && f.Kind == stream.Overloaded {
		st.str.CancelWrite(codeExcessiveLoad)
		return
	}
	st.str.CancelWrite(codeInternalError)
	if f != nil && f.Kind == stream.FaultInjected { // nothing that the client asked for
		return
	}
	if err := c.score.add(pointsReset); err != nil {
		c.end(err)
	}
}

// ask runs the Service.
func (st *serverStream) ask() (resp *stream.Response) {
	defer func() {
		if p := recover(); p != nil {
			st.c.panicked(p)
			resp = st.answer(stream.Faultf(stream.Internal, stream.RetryNever, "panic: %v", p))
		}
	}()
	resp, err := st.c.cfg.Service.Serve(st.ctx, &st.req)
	if err != nil {
		return st.answer(stream.AsFault(err))
	}
	return resp
}

// answer is the response to a fault that no stage has answered.
func (st *serverStream) answer(f *stream.Fault) *stream.Response {
	st.req.Exchange.Fault = f
	return st.c.cfg.Refuse(st.ctx, &st.req, f)
}

// finish ends the exchange.
func (st *serverStream) finish() {
	ex := &st.req.Exchange
	st.body.shut()
	ex.BytesIn = st.body.received.Load()
	st.c.bytesIn.Add(ex.BytesIn)
	st.c.bytesOut.Add(ex.BytesOut)
	if ex.End.IsZero() {
		ex.End = time.Now()
	}
	if st.c.cfg.Done != nil {
		st.c.cfg.Done(&st.req)
	}
}
