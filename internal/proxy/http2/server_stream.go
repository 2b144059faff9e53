package http2

import (
	"errors"
	"sync"
	"time"

	"github.com/weirproxy/weir/stream"
)

var errReset = errors.New("the client has reset the stream")

// serverStream is one exchange. It is used again for others, on any connection,
// once its worker is through with it; what others may keep for longer is in x.
type serverStream struct {
	c     *serverConn
	req   stream.Request
	x     *exchange
	meter meter
	inbox inbox

	// Under out.mu.
	send     sender
	recv     recvWindow
	recvDone bool // END_STREAM came
	sendDone bool // END_STREAM or RST_STREAM is queued
	gone     bool // reset, by either side, or the connection is over
	resetUs  bool // by us: what the client has on the way is ignored
	counted  bool // in c.active
	declared int64
	received int64
	fault    *stream.Fault // why it is gone

	announced string // the Trailer field of the head

	malformed *stream.Fault // what the worker answers instead of asking the service

	interimMu sync.Mutex // orders interim responses before the final one
	sealed    bool       // under interimMu: the final response has begun
	told      bool       // under interimMu: 100 (Continue) was sent
	interims  int        // under interimMu
	interimFn func(int, *stream.Header) error
}

var serverStreams = sync.Pool{New: func() any {
	s := new(serverStream)
	s.interimFn = s.interim
	return s
}}

// newStream begins the exchange that block is the head of.
func (c *serverConn) newStream(id uint32, block []byte) *failure {
	c.out.mu.Lock()
	c.last = id
	late := c.stage == leaving && id > c.final
	full := c.active >= c.srv.cfg.MaxStreams
	stays := c.stage == lives
	c.out.mu.Unlock()
	if late || full {
		var m meter
		if bad := c.discard(block, &m); bad != nil || late {
			return bad
		}
		c.srv.Stats.RefusedStreams.Add(1)
		c.out.mu.Lock()
		c.reset(id, codeRefusedStream)
		c.out.mu.Unlock()
		points := pointsRefused
		if !c.acked { // it may not know the limit yet, and sends the request again
			points = pointsFrame
		}
		return c.score(points, "streams beyond SETTINGS_MAX_CONCURRENT_STREAMS")
	}
	s := serverStreams.Get().(*serverStream)
	s.begin(c, c.now)
	fields, over, bad := c.hpack.decode(block, &s.meter)
	if bad != nil {
		s.recycle()
		return bad
	}
	s.req.Exchange.HeadersIn = len(block)
	malformed := c.readHead(s, fields, over)
	c.hpack.release()
	c.requests.Add(1)
	c.register(s, id, malformed)
	if malformed != nil {
		return brokenStream(id, codeProtocol, malformed.Error())
	}
	if stays && c.full() {
		c.out.mu.Lock()
		c.warn()
		c.out.mu.Unlock()
	}
	return nil
}

// full tells whether the connection has served its share.
func (c *serverConn) full() bool {
	cfg := &c.srv.cfg
	return c.srv.retired.Load() || cfg.MaxRequests > 0 && c.requests.Load() >= int64(cfg.MaxRequests) ||
		!c.expiry.IsZero() && c.now.After(c.expiry) || cfg.Tight != nil && cfg.Tight()
}

// begin makes s ready for a request.
func (s *serverStream) begin(c *serverConn, now time.Time) {
	s.c = c
	s.x = new(exchange)
	s.x.ctx.parent, s.x.ctx.spawn = c.ctx, c.srv.cfg.Go
	s.x.body.s = s
	s.meter = meter{side: &requestSide, limits: &c.srv.cfg.Limits}
	header := s.req.Header
	s.req = stream.Request{
		Header: header, Proto: stream.HTTP2, Body: stream.NoBody,
		Conn: c.facts, Client: c.facts.Remote.Addr(), Interim: s.interimFn,
	}
	s.req.Exchange.Start, s.req.Exchange.HeadRead = now, now
	s.recvDone, s.sendDone, s.gone, s.resetUs, s.counted = false, false, false, false, false
	s.declared, s.received, s.fault, s.malformed, s.announced = -1, 0, nil, nil, ""
	s.recv.init(c.srv.cfg.StreamWindow)
	s.interimMu.Lock()
	s.sealed, s.told, s.interims = false, false, 0
	s.interimMu.Unlock()
}

// recycle gives s back. Nobody else has it any more.
func (s *serverStream) recycle() {
	s.inbox.reset()
	s.req.Header.Reset()
	s.req.Body, s.req.Conn, s.c, s.x = nil, nil, nil, nil
	serverStreams.Put(s)
}

// readHead makes the request of s. What it returns makes the request malformed.
func (c *serverConn) readHead(s *serverStream, fields []headField, over *stream.Fault) error {
	if over != nil {
		s.malformed = over
		return nil
	}
	h := &c.head
	if err := h.read(fields, &s.req.Header); err != nil {
		return err
	}
	ended := c.pending.end
	if ended && h.length > 0 {
		return errLengthContent
	}
	s.declared, s.announced = h.length, h.announced
	s.malformed = h.facts(&s.req, c.scheme, &c.srv.cfg.Limits, ended)
	return nil
}

// register makes s one of the streams and, unless it is malformed, has it run
// at the next dispatch. A malformed one runs too, to be recorded.
func (c *serverConn) register(s *serverStream, id uint32, malformed error) {
	c.srv.Stats.Streams.Add(1)
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.open(&s.send, id)
	c.streams[id] = s
	s.counted = true
	c.active++
	if malformed != nil {
		s.fault = requestSide.bad(malformed)
	}
	if value, ok := s.req.Header.Get("priority"); ok {
		s.send.urgency = urgency(value)
	}
	if c.pending.end {
		c.recvEnd(s)
	}
	c.ready = append(c.ready, s)
}

// reset appends RST_STREAM for a stream that is none of ours. out.mu is held.
func (c *serverConn) reset(id uint32, code errCode) {
	c.appendReset(id, code)
	c.remember(id, true)
}

func (c *serverConn) appendReset(id uint32, code errCode) {
	c.srv.Stats.ResetsOut.Add(1)
	c.out.begin()
	c.out.buf = appendReset(c.out.buf, id, code)
}

// resetStream ends s from our side. out.mu is held.
func (c *serverConn) resetStream(s *serverStream, code errCode, f *stream.Fault) {
	if s.gone {
		return
	}
	s.resetUs = true
	c.appendReset(s.send.id, code)
	c.abandon(s, f)
}

// abandon ends s without a word: the client has reset it, or was told. The
// handler that runs for it still counts until it has ended. out.mu is held.
func (c *serverConn) abandon(s *serverStream, f *stream.Fault) {
	if s.gone {
		return
	}
	s.gone, s.sendDone = true, true
	if s.fault == nil {
		s.fault = f
	}
	c.out.fail(&s.send, f)
	s.inbox.fail(f)
	s.x.ctx.cancel()
	c.forget(s)
}

// sent is the end of the response: the stream counts no more, and a client that
// still sends content is told that nobody wants it (RFC 9113 section 8.1).
// out.mu is held.
func (c *serverConn) sent(s *serverStream) {
	s.sendDone = true
	c.uncount(s)
	if !s.recvDone {
		s.resetUs = true
		if s.declared < 0 || s.received < s.declared {
			c.appendReset(s.send.id, codeNo)
		}
		s.gone = true
		s.inbox.fail(&stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed})
	}
	c.forget(s)
}

func (c *serverConn) uncount(s *serverStream) {
	if s.counted {
		s.counted = false
		c.active--
	}
}

// forget takes s out of the streams that are open. out.mu is held.
func (c *serverConn) forget(s *serverStream) {
	id := s.send.id
	if c.streams[id] != s {
		return
	}
	delete(c.streams, id)
	c.out.close(&s.send)
	c.remember(id, s.resetUs)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
	}
}

// remembered is how many closed streams are known.
const remembered = 128

func (c *serverConn) remember(id uint32, resetUs bool) {
	one := closedStream{id: id, resetUs: resetUs}
	if len(c.closed) < remembered {
		c.closed = append(c.closed, one)
		return
	}
	c.closed[c.nclosed%remembered] = one
	c.nclosed++
}
