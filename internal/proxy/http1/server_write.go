package http1

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errBodyLonger  = errors.New("the response body is longer than its declared length")
	errBodyShorter = errors.New("the response body is shorter than its declared length")
	errNoProgress  = errors.New("the response body gives neither bytes nor an end")
)

// writeSlice is the most that one write carries, so that a client that takes
// it slowly is seen to make progress.
const writeSlice = 64 << 10

// writeOffer is the most that is offered to a plain socket at once. It takes
// what it has room for.
const writeOffer = 256 << 10

// maxEmptyReads bounds reads of a body that give nothing.
const maxEmptyReads = 100

// responseWriter is the writing side of a connection: its page is in use only
// while a response is written.
type responseWriter struct {
	page *page
	out  []byte // what is to be written next; begins in page
	kind bodyKind
	left int64 // of a body with known length
	pace pace
}

// bufferedBody is a body that can tell that a read would not block.
type bufferedBody interface{ hasBuffered() bool }

// respond writes resp. It reports whether all of it was written as promised.
func (c *serverConn) respond(resp *stream.Response) bool {
	gone := c.fired() == watchdog.PeerGone
	c.seal()
	if !c.enter(stream.PhaseWrite) || c.ctx.Err() != nil {
		c.last = true
	}
	if gone {
		c.broken(&stream.Fault{Kind: stream.ClientGone})
		return false
	}
	ending := c.srv.draining.Load() || c.srv.retired.Load()
	if ending || !c.body.staysOpen() || c.asksTunnel {
		c.last = true
	}
	c.req.Exchange.Draining = ending

	w := &c.writer
	w.page = pages.Get().(*page)
	defer w.release()
	w.pace.begin(&c.srv.cfg.Phases[stream.PhaseWrite])
	body, whole := wholeBody(resp)
	if err := c.putHead(resp, body, whole); err != nil {
		return c.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: err})
	}
	switch {
	case w.kind == tunnelContent:
		return c.writeHead(resp.Status, w.out)
	case w.kind == noContent:
		return c.writeHead(resp.Status, w.out)
	case whole:
		return c.writeWhole(resp.Status, body)
	}
	return c.writeStream(resp.Status, resp.Body)
}

func (w *responseWriter) release() {
	if w.page != nil {
		pages.Put(w.page)
	}
	w.page, w.out = nil, nil
}

// wholeBody is the body of resp if all of it is in memory.
func wholeBody(resp *stream.Response) ([]byte, bool) {
	if b, ok := resp.Body.(stream.Whole); ok {
		return b.Bytes()
	}
	return nil, false
}

// putHead makes the head of resp and decides how its body is delimited
// (RFC 9112 section 6).
func (c *serverConn) putHead(resp *stream.Response, body []byte, whole bool) error {
	w := &c.writer
	if resp.Status < 200 && resp.Status != 101 || resp.Status > 999 {
		return errWriteStatus
	}
	tunnel := resp.Status == 101 || c.req.Method == "CONNECT" && resp.Status < 300
	out := w.page[:0]
	if tunnel && resp.Status == 200 {
		out = append(out, "HTTP/1.1 200 Connection established\r\n"...)
	} else {
		out = appendStatusLine(out, resp.Status)
	}
	out, err := appendFields(out, &resp.Header)
	if err != nil {
		return err
	}
	if _, ok := resp.Header.GetID(stream.Date); !ok {
		out = c.srv.appendDate(out, time.Now())
	}
	if tunnel {
		return c.putTunnel(out, resp)
	}
	if c.req.GRPC != stream.NotGRPC {
		c.req.Exchange.SetGRPCStatus(&resp.Header)
	}
	length := resp.Length
	if whole && length != int64(len(body)) && c.mayHaveBody(resp.Status) {
		if length >= 0 {
			return errBodyShorter
		}
		length = int64(len(body))
	}
	w.left = length
	switch {
	case !c.mayHaveBody(resp.Status):
		w.kind = noContent
		if length >= 0 && resp.Status != 204 {
			out = appendLength(out, length)
		}
	case length >= 0:
		w.kind = knownContent
		out = appendLength(out, length)
	case c.req.Proto == stream.HTTP10:
		w.kind = contentToClose
		c.last = true
	default:
		w.kind = chunkedContent
		out = appendChunked(out, resp.Body)
	}
	switch {
	case c.last:
		out = append(out, "Connection: close\r\n"...)
	case c.req.Proto == stream.HTTP10:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	w.out = append(out, "\r\n"...)
	return nil
}

// mayHaveBody tells whether content follows a head with that status here.
func (c *serverConn) mayHaveBody(status int) bool {
	return c.req.Method != "HEAD" && status != 204 && status != 304
}

// putTunnel ends the head of a 101, or of a 2xx to CONNECT, which has no fields
// of framing (RFC 9110 section 9.3.6). Without a tunnel behind it either would
// leave the client talking to nobody.
func (c *serverConn) putTunnel(out []byte, resp *stream.Response) error {
	if _, ok := resp.Body.(stream.Duplex); !ok || !c.asksTunnel {
		return errWriteTunnel
	}
	c.writer.kind = tunnelContent
	if resp.Status == 101 {
		if c.req.Upgrade == "" || !validProtocol(c.req.Upgrade) {
			return errWriteTunnel
		}
		out = appendAccept(out, &c.req, c.websocketKey, &resp.Header)
		out = append(out, "Connection: Upgrade\r\nUpgrade: "...)
		out = append(out, c.req.Upgrade...)
		out = append(out, '\r', '\n')
	}
	c.writer.out = append(out, '\r', '\n')
	return nil
}

// writeHead writes p, which begins with the head.
func (c *serverConn) writeHead(status int, p []byte) bool {
	ok := c.write(p)
	if ok {
		c.headWritten(status)
	}
	return ok
}

func (c *serverConn) headWritten(status int) {
	now := time.Now()
	ex := &c.req.Exchange
	ex.Status, ex.HeadSent, ex.End = status, now, now
}

// writeWhole writes the head and a body that is in memory: in one write when
// both fit in a page, else the body from where it lies.
func (c *serverConn) writeWhole(status int, body []byte) bool {
	fits, slice := 0, writeSlice
	switch out := c.writer.out; {
	case len(body) <= pageSize-len(out):
		fits = len(body)
		c.writer.out = append(out, body...)
	case c.src.raw != nil: // a full socket says how much it took, so that more may be offered
		slice = writeOffer
		fits = min(len(body), slice)
		c.following = body[:fits]
	}
	ok := c.writeHead(status, c.writer.out)
	c.following = nil
	if !ok {
		return false
	}
	c.req.Exchange.BytesOut += int64(fits)
	if fits == len(body) { // the end of the head is that of the response
		return true
	}
	for rest := body[fits:]; len(rest) > 0; {
		n := min(len(rest), slice)
		if !c.writeTimed(rest[:n]) {
			return false
		}
		c.req.Exchange.BytesOut += int64(n)
		rest = rest[n:]
	}
	c.req.Exchange.End = time.Now()
	return true
}

// writeStream writes the head and a body as it comes.
func (c *serverConn) writeStream(status int, body stream.Body) bool {
	w := &c.writer
	headed := !w.waitsForBody(body)
	if headed {
		if !c.writeHead(status, w.out) {
			return false
		}
		w.out = w.page[:0]
	}
	for slow := false; ; {
		p, f := c.nextPiece(body, headed, slow)
		if f != nil {
			return c.cut(f, headed)
		}
		if !c.writeTimed(w.out) {
			return false
		}
		if !headed {
			headed = true
			c.headWritten(status)
		}
		c.req.Exchange.BytesOut += int64(p.size)
		w.out = w.page[:0]
		if p.fault != nil {
			return c.cut(p.fault, headed)
		}
		if p.last {
			if c.req.GRPC != stream.NotGRPC {
				c.req.Exchange.SetGRPCStatus(body.Trailer())
			}
			c.req.Exchange.End = time.Now()
			return true
		}
		slow = p.size < slowPiece
	}
}

// waitsForBody tells whether the head is written together with the first bytes
// of the body: these are here, and there is room for them.
func (w *responseWriter) waitsForBody(body stream.Body) bool {
	b, ok := body.(bufferedBody)
	return ok && b.hasBuffered() && pageSize-len(w.out) >= 2*reserveChunk
}

// piece is what one turn of writeStream writes of a body.
type piece struct {
	size  int
	last  bool
	fault *stream.Fault // the body does not keep its declared length
}

// nextPiece reads until there is something to write. With the head written, a
// slow body is waited for without a page.
func (c *serverConn) nextPiece(body stream.Body, headed, slow bool) (piece, *stream.Fault) {
	for range maxEmptyReads + 1 {
		if slow {
			c.awaitPiece(body)
		}
		n, err := c.readPiece(body)
		if err != nil && err != io.EOF {
			return piece{}, stream.AsFault(err)
		}
		if n > 0 || err == io.EOF {
			return c.writer.piece(n, err == io.EOF, body)
		}
		slow = headed
	}
	return piece{}, &stream.Fault{Kind: stream.Internal, Cause: errNoProgress}
}

// piece judges the n bytes that readPiece has put out and closes the framing
// behind the last ones.
func (w *responseWriter) piece(n int, end bool, body stream.Body) (piece, *stream.Fault) {
	switch {
	case w.kind == knownContent && int64(n) > w.left:
		w.out = w.out[:len(w.out)-n+int(w.left)]
		return piece{size: int(w.left), fault: &stream.Fault{Kind: stream.Internal, Cause: errBodyLonger}}, nil
	case w.kind == knownContent:
		w.left -= int64(n)
		if end && w.left > 0 {
			return piece{size: n, fault: &stream.Fault{Kind: stream.ResponseTruncated, Cause: errBodyShorter}}, nil
		}
		end = w.left == 0
	case w.kind == chunkedContent && end:
		var err error
		if w.out, err = appendLastChunk(w.out, body.Trailer()); err != nil {
			return piece{}, &stream.Fault{Kind: stream.Internal, Cause: err}
		}
	}
	return piece{size: n, last: end}, nil
}

// slowPiece is a piece so small that the next one is waited for without a page.
const slowPiece = 4 << 10

// awaitPiece waits for the next piece of a slow body.
func (c *serverConn) awaitPiece(body stream.Body) {
	b, ok := body.(stream.Awaiter)
	if !ok {
		return
	}
	w := &c.writer
	w.release()
	c.enter(stream.PhaseWait)
	_ = b.Await() // a failure comes again from Read
	w.page = pages.Get().(*page)
	w.out = w.page[:0]
}

// readPiece appends the next bytes of the body to what is to be written, as a
// chunk if the body is chunked.
func (c *serverConn) readPiece(body stream.Body) (int, error) {
	w := &c.writer
	c.enter(stream.PhaseWait)
	begin := len(w.out)
	if w.kind != chunkedContent {
		n, err := body.Read(w.page[begin:])
		w.out = w.page[:begin+n]
		return n, err
	}
	// The size line is written backwards, up to the data; what is then free
	// before it is closed by moving what stands before, the head or nothing.
	data := begin + reserveChunk
	n, err := body.Read(w.page[data : pageSize-2])
	if n == 0 {
		return 0, err
	}
	at := begin + putChunkSize(w.page[begin:data], n)
	if begin == 0 {
		w.out = w.page[at : data+n]
	} else {
		copy(w.page[begin:], w.page[at:data+n])
		w.out = w.page[:begin+data+n-at]
	}
	w.out = append(w.out, '\r', '\n')
	return n, err
}

// write writes p in phase write.
func (c *serverConn) write(p []byte) bool {
	if c.src.raw != nil {
		return c.writeRaw(p)
	}
	for len(p) > 0 {
		n, err := c.nc.Write(p[:min(len(p), writeSlice)])
		if err != nil {
			c.broken(c.writeFault(err))
			return false
		}
		p = p[n:]
		c.guard.Moved(n)
	}
	return true
}

// writeRaw is write for a plain socket: straight to the descriptor, parked only
// when the socket is full.
func (c *serverConn) writeRaw(p []byte) bool {
	c.outgoing, c.writeErr = p, nil
	err := c.src.raw.Write(c.transmitFn)
	if err == nil {
		err = c.writeErr
	}
	c.outgoing = nil
	if err != nil {
		c.broken(c.writeFault(err))
	}
	return err == nil
}

// transmit is the callback of writeRaw: false waits until the socket takes more.
func (c *serverConn) transmit(fd uintptr) bool {
	for len(c.outgoing)+len(c.following) > 0 {
		n, err := writeNow(fd, c.outgoing, c.following)
		if errors.Is(err, syscall.EAGAIN) {
			c.stalled(max(pageSize, len(c.outgoing)+len(c.following)))
			return false
		}
		if err != nil {
			c.writeErr = err
			return true
		}
		c.guard.Moved(n)
		first := min(n, len(c.outgoing))
		c.outgoing, c.following = c.outgoing[first:], c.following[n-first:]
	}
	return true
}

// writeTimed is write for a piece of a body: a client that takes each piece in
// time but all of them too slowly is found out.
func (c *serverConn) writeTimed(p []byte) bool {
	if !c.enter(stream.PhaseWrite) { // the wait before it had fired: the client has gone, or the backstop
		c.broken(&stream.Fault{Kind: stream.ClientGone})
		return false
	}
	if c.src.raw == nil { // nobody says when it waits
		c.stalled(pageSize)
	}
	start := time.Now()
	if !c.write(p) {
		return false
	}
	if v := c.writer.pace.wait(time.Since(start), len(p)); v != watchdog.None {
		c.broken(&stream.Fault{Kind: stream.ClientTooSlow})
		return false
	}
	return true
}

// stalled says what the response keeps in memory while the client takes none of
// it.
func (c *serverConn) stalled(n int) { c.hold(&c.guard, n) }

// hold has what a guard keeps charged to the tenant of the request.
func (c *serverConn) hold(g *watchdog.Guard, n int) {
	payer := c.srv.cfg.Payer
	if payer == nil {
		return
	}
	if !g.Billed() {
		g.Bill(payer(&c.req))
	}
	g.Hold(n)
}

func (c *serverConn) writeFault(err error) *stream.Fault {
	switch c.fired() {
	case watchdog.None:
	case watchdog.Costly:
		reset(c.nc) // what the system holds for it goes, too
		return stream.Costly(err)
	default:
		return &stream.Fault{Kind: stream.ClientTooSlow, Cause: err}
	}
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// broken keeps the first reason why a response broke off.
func (c *serverConn) broken(f *stream.Fault) {
	ex := &c.req.Exchange
	if ex.Fault == nil {
		ex.Fault = f
	}
	ex.End = time.Now()
}

// cut ends the connection inside a response whose body broke off, in such a
// way that the client notices. Before the head was written, which is when the
// first bytes of the body were at hand and bad, the client gets an answer.
func (c *serverConn) cut(f *stream.Fault, headed bool) bool {
	if !headed {
		return c.respondInstead(f)
	}
	c.broken(f)
	c.srv.Stats.Cut.Add(1)
	if c.writer.kind == contentToClose { // its end would pass for the end of the body
		reset(c.nc)
	}
	return false
}

// respondInstead answers f, when nothing of the response was written yet.
func (c *serverConn) respondInstead(f *stream.Fault) bool {
	resp := c.answer(f)
	defer resp.Body.Close()
	body, whole := wholeBody(resp)
	c.enter(stream.PhaseWrite)
	if !whole || c.putHead(resp, body, true) != nil {
		return false
	}
	if c.writer.kind == noContent {
		return c.writeHead(resp.Status, c.writer.out)
	}
	return c.writeWhole(resp.Status, body)
}
