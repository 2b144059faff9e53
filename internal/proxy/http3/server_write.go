package http3

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go/quicvarint"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var (
	errBodyLonger  = errors.New("the body is longer than its declared length")
	errBodyShorter = errors.New("the body is shorter than its declared length")
	errNoProgress  = errors.New("the body gives neither bytes nor an end")
	errNoTunnel    = errors.New("a success to a CONNECT that is no tunnel")
)

// pageSize is the memory of one write.
const pageSize = 16 << 10

type page [pageSize]byte

var pages = sync.Pool{New: func() any { return new(page) }}

const (
	// frameRoom is what the header of a frame takes at most: one byte of type,
	// four of a length.
	frameRoom = 5
	// maxEmptyReads bounds reads of a body that give nothing.
	maxEmptyReads = 100
)

// putFrame writes the header of a frame of n bytes so that it ends where b
// ends, and returns where it begins.
func putFrame(b []byte, typ byte, n int) int {
	at := len(b) - 1 - quicvarint.Len(uint64(n))
	b[at] = typ
	quicvarint.Append(b[at+1:at+1], uint64(n))
	return at
}

// frame puts HEADERS around the field section that begins at frameRoom.
func headersFrame(out []byte) []byte {
	return out[putFrame(out[:frameRoom], frameHeaders, len(out)-frameRoom):]
}

// respond writes resp. It reports whether all of it was written as promised.
func (st *serverStream) respond(resp *stream.Response) bool {
	st.seal()
	if !st.enter(stream.PhaseWrite) && st.ctx.Err() != nil || st.str.Context().Err() != nil {
		st.gone()
		return false
	}
	st.req.Exchange.Draining = st.c.draining()
	st.pace.limit = &st.c.cfg.Phases[stream.PhaseWrite]
	if st.page == nil {
		st.page = pages.Get().(*page)
	}
	tunnel, f := st.tunnelOf(resp)
	if f != nil {
		return st.respondInstead(f)
	}
	var content []byte
	whole := false
	if w, ok := resp.Body.(stream.Whole); ok && tunnel == nil {
		content, whole = w.Bytes()
	}
	length := resp.Length
	bodiless := bodiless(st.req.Method, resp.Status)
	if whole && !bodiless {
		if length >= 0 && length != int64(len(content)) {
			return st.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: errBodyShorter})
		}
		length = int64(len(content))
	}
	if err := st.putHead(resp, length, tunnel != nil); err != nil {
		return st.respondInstead(&stream.Fault{Kind: stream.Internal, Cause: err})
	}
	if st.req.GRPC != stream.NotGRPC {
		st.req.Exchange.SetGRPCStatus(&resp.Header)
	}
	switch {
	case tunnel != nil:
		return st.tunnel(tunnel)
	case bodiless:
		return st.writeHead(resp.Status, st.out)
	case whole:
		return st.writeWhole(resp.Status, content)
	}
	return st.writeStream(resp.Status, resp.Body, length)
}

// tunnelOf is the tunnel that resp begins. A success without one would be taken
// for a tunnel by a client that asked for it with CONNECT.
func (st *serverStream) tunnelOf(resp *stream.Response) (stream.Duplex, *stream.Fault) {
	asked := st.req.Upgrade != "" || st.req.Method == "CONNECT"
	d, ok := resp.Body.(stream.Duplex)
	success := resp.Status == 101 || resp.Status >= 200 && resp.Status < 300
	switch {
	case asked && success && ok && (resp.Status == 101) == (st.req.Upgrade != ""):
		return d, nil
	case asked && success, resp.Status == 101:
		return nil, &stream.Fault{Kind: stream.UpgradeRefused, Cause: errNoTunnel}
	}
	return nil, nil
}

// putHead makes the HEADERS frame of resp.
func (st *serverStream) putHead(resp *stream.Response, length int64, tunnel bool) error {
	status := resp.Status
	if status == 101 {
		status = 200 // RFC 9220 section 3
		resp.Header.DelID(stream.SecWebSocketAccept)
	}
	if status < 200 || status > 999 {
		return errWriteStatus
	}
	out := appendStatus(appendPrefix(st.page[:frameRoom]), status)
	out, err := appendFields(out, &resp.Header)
	if err != nil {
		return err
	}
	if _, ok := resp.Header.GetID(stream.Date); !ok {
		out = appendNamed(out, int(staticNames[stream.Date]-1), st.c.srv.dateNow(time.Now()))
	}
	switch {
	case tunnel || status == 204:
	case length >= 0:
		out = appendLength(out, length)
	default:
		out = appendAnnounced(out, resp.Body)
	}
	st.out = headersFrame(out)
	return nil
}

func (st *serverStream) writeHead(status int, p []byte) bool {
	st.post.Hold(pageSize)
	if !st.write(p) {
		return false
	}
	now := time.Now()
	ex := &st.req.Exchange
	ex.Status, ex.HeadSent, ex.End = status, now, now
	return true
}

// writeWhole writes the head and a body that is in memory; in one write when
// both fit in a page.
func (st *serverStream) writeWhole(status int, content []byte) bool {
	out := st.out
	if len(content) > 0 {
		out = append(out, frameData)
		out = quicvarint.Append(out, uint64(len(content)))
	}
	fits := max(0, min(len(content), pageSize-frameRoom-len(out)))
	if !st.writeHead(status, append(out, content[:fits]...)) {
		return false
	}
	st.req.Exchange.BytesOut += int64(fits)
	for rest := content[fits:]; len(rest) > 0; {
		n := min(len(rest), pageSize)
		if !st.writeTimed(rest[:n]) {
			return false
		}
		st.req.Exchange.BytesOut += int64(n)
		rest = rest[n:]
	}
	return st.closeWrite()
}

func (st *serverStream) closeWrite() bool {
	st.req.Exchange.End = time.Now()
	if err := st.str.Close(); err != nil {
		st.broken(&stream.Fault{Kind: stream.ClientGone, Cause: err})
		return false
	}
	return true
}

// writeStream writes the head and a body as it comes.
func (st *serverStream) writeStream(status int, body stream.Body, left int64) bool {
	if !st.writeHead(status, st.out) {
		return false
	}
	known := left >= 0
	for empty := 0; ; {
		n, err := st.nextPiece(body)
		if err != nil && err != io.EOF {
			return st.cut(stream.AsFault(err))
		}
		if known {
			if left -= int64(n); left < 0 {
				return st.cut(&stream.Fault{Kind: stream.Internal, Cause: errBodyLonger})
			}
		}
		if n > 0 {
			empty = 0
			at := putFrame(st.page[:frameRoom], frameData, n)
			if !st.writeTimed(st.page[at : frameRoom+n]) {
				return false
			}
			st.req.Exchange.BytesOut += int64(n)
		} else if empty++; empty > maxEmptyReads {
			return st.cut(&stream.Fault{Kind: stream.Internal, Cause: errNoProgress})
		}
		if err == io.EOF {
			if known && left > 0 {
				return st.cut(&stream.Fault{Kind: stream.Internal, Cause: errBodyShorter})
			}
			return st.writeTrailer(body.Trailer())
		}
	}
}

// nextPiece reads the next piece of the body behind the room for its frame. A
// body that can wait does so without our page.
func (st *serverStream) nextPiece(body stream.Body) (int, error) {
	if !st.enter(stream.PhaseWait) {
		return 0, &stream.Fault{Kind: stream.ClientTooSlow}
	}
	if a, ok := body.(stream.Awaiter); ok {
		pages.Put(st.page)
		st.page = nil
		err := a.Await()
		st.page = pages.Get().(*page)
		if err != nil {
			return 0, err
		}
	}
	return body.Read(st.page[frameRoom:])
}

// writeTrailer ends the response.
func (st *serverStream) writeTrailer(trailer *stream.Header) bool {
	if trailer == nil || trailer.Len() == 0 {
		return st.closeWrite()
	}
	if st.req.GRPC != stream.NotGRPC {
		st.req.Exchange.SetGRPCStatus(trailer)
	}
	out, err := appendFields(appendPrefix(st.page[:frameRoom]), trailer)
	if err != nil {
		return st.cut(&stream.Fault{Kind: stream.Internal, Cause: err})
	}
	return st.writeTimed(headersFrame(out)) && st.closeWrite()
}

// writeSlice is the most that one wait carries, so that a client that takes it
// slowly is seen to make progress.
const writeSlice = 4 << 10

// write writes p in phase write.
func (st *serverStream) write(p []byte) bool {
	for len(p) > 0 {
		n, err := st.str.Write(p[:min(len(p), writeSlice)])
		if err != nil {
			st.writeFailed(err)
			return false
		}
		p = p[n:]
		st.post.Moved(n)
	}
	return true
}

// writeTimed is write for a piece of a body: a client that takes each piece in
// time but all of them too slowly is found out.
func (st *serverStream) writeTimed(p []byte) bool {
	if !st.enter(stream.PhaseWrite) {
		st.gone()
		return false
	}
	st.hold(&st.post.Guard)
	start := time.Now()
	if !st.write(p) {
		return false
	}
	if st.pace.wait(time.Since(start), len(p)) != watchdog.None {
		st.broken(&stream.Fault{Kind: stream.ClientTooSlow})
		return false
	}
	return true
}

// hold has a page charged to the tenant of the request until the phase ends.
func (st *serverStream) hold(g *watchdog.Guard) {
	payer := st.c.cfg.Payer
	if payer == nil {
		return
	}
	if !g.Billed() {
		g.Bill(payer(&st.req))
	}
	g.Hold(pageSize)
}

func (st *serverStream) writeFailed(err error) {
	switch st.fired() {
	case watchdog.None:
	case watchdog.Costly:
		st.broken(stream.Costly(err))
		return
	default:
		st.broken(&stream.Fault{Kind: stream.ClientTooSlow, Cause: err})
		return
	}
	st.broken(&stream.Fault{Kind: stream.ClientGone, Cause: err})
	st.c.srv.Stats.Resets.Add(1)
}

// gone ends an exchange whose client gave it up before the response.
func (st *serverStream) gone() {
	st.broken(&stream.Fault{Kind: stream.ClientGone})
	st.c.srv.Stats.Resets.Add(1)
}

// broken keeps the first reason why a response broke off.
func (st *serverStream) broken(f *stream.Fault) {
	ex := &st.req.Exchange
	if ex.Fault == nil {
		ex.Fault = f
	}
	ex.End = time.Now()
}

// cut ends a response whose body broke off.
func (st *serverStream) cut(f *stream.Fault) bool {
	st.broken(f)
	st.c.srv.Stats.Cut.Add(1)
	return false
}

// respondInstead answers f, when nothing of the response was written yet.
func (st *serverStream) respondInstead(f *stream.Fault) bool {
	resp := st.answer(f)
	defer resp.Body.Close()
	w, ok := resp.Body.(stream.Whole)
	if !ok {
		return false
	}
	content, whole := w.Bytes()
	st.enter(stream.PhaseWrite)
	if !whole || st.putHead(resp, int64(len(content)), false) != nil {
		return false
	}
	if bodiless(st.req.Method, resp.Status) {
		return st.writeHead(resp.Status, st.out)
	}
	return st.writeWhole(resp.Status, content)
}

// seal ends the time of interim responses.
func (st *serverStream) seal() {
	st.sealing.Lock()
	st.sealed = true
	st.sealing.Unlock()
}

// sendContinue tells the client to send the body. Any goroutine.
func (st *serverStream) sendContinue() error {
	st.sealing.Lock()
	defer st.sealing.Unlock()
	switch {
	case st.told:
		return nil
	case st.sealed:
		return &stream.Fault{Kind: stream.ClientGone, Cause: errBodyClosed}
	}
	st.told = true
	return st.writeInterim(100, &stream.Header{})
}

// sendInterim is Request.Interim. What comes too late or is one too many is
// dropped: an interim response is a courtesy. Any goroutine.
func (st *serverStream) sendInterim(status int, h *stream.Header) error {
	switch {
	case status == 100:
		return nil // ours to send
	case status < 102 || status > 199:
		return stream.Faultf(stream.Internal, stream.RetryNever, "%d is no interim status", status)
	}
	st.sealing.Lock()
	defer st.sealing.Unlock()
	if st.interim++; st.sealed || st.interim > maxInterim {
		return nil
	}
	return st.writeInterim(status, h)
}

// writeInterim queues a head without waiting: the guard belongs to the goroutine
// of the stream, and a client without room for it has no need of it. sealing is held.
func (st *serverStream) writeInterim(status int, h *stream.Header) error {
	p := pages.Get().(*page)
	defer pages.Put(p)
	out, err := appendFields(appendStatus(appendPrefix(p[:frameRoom]), status), h)
	if err != nil {
		return stream.Faultf(stream.Internal, stream.RetryNever, "interim response: %w", err)
	}
	_ = st.str.TryWriteAll(headersFrame(out)) // what broke shows with the response
	return nil
}
