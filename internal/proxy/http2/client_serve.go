package http2

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

const (
	// maxInline is the largest request body that leaves with its head.
	maxInline = 16 << 10
	// deadlineNear is when the coarse watch of a deadline is not exact enough.
	deadlineNear = 2 * time.Second
	// keepHead is the largest memory for a head that a stream object keeps.
	keepHead = 4 << 10
)

// Serve sends req and returns the head of the response, in a place that Reserve
// took; see stream.Service. Response and body are valid until the body is
// closed.
func (c *Client) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	c.cfg.Stats.Streams.Add(1)
	s := c.stream()
	s.req, s.ctx = req, ctx
	served := false
	defer func() { // also when what the request brings with it panics
		if !served {
			s.end()
		}
	}()
	resp, f := s.exchange()
	if f != nil {
		return nil, f
	}
	served = true
	return resp, nil
}

func (s *clientStream) exchange() (*stream.Response, *stream.Fault) {
	deadline := s.req.Deadline
	switch {
	case s.ctx.Err() != nil:
		return nil, &stream.Fault{Kind: stream.ClientGone}
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return nil, &stream.Fault{Kind: stream.UpstreamTimeout, Retry: stream.RetryUnsent, Cause: errLocalDeadline}
	}
	content, inline, f := s.prepare()
	if f != nil {
		return nil, f
	}
	rest, f := s.begin(content, inline)
	if f != nil {
		return nil, f
	}
	switch {
	case inline && len(rest) == 0:
		s.req.Body.Close() // its memory is free while we wait
	case !s.tunnels():
		if _, whole := s.req.Header.Get("grpc-timeout"); !whole && !deadline.IsZero() {
			s.budget = time.Until(deadline) // it counts from the end of the upload
		}
		s.up.start(rest, inline)
	}
	return s.receive()
}

// tunnels tells whether the request asks for a tunnel.
func (s *clientStream) tunnels() bool { return s.req.Upgrade != "" || s.req.Method == "CONNECT" }

// prepare makes the head of the request; content is the body when inline is
// set.
func (s *clientStream) prepare() (content []byte, inline bool, f *stream.Fault) {
	req := s.req
	if p, ok := req.Body.(stream.Prefetcher); ok && req.Length != 0 {
		if err := p.Prefetch(maxInline); err != nil {
			return nil, false, stream.AsFault(err)
		}
	}
	inline = req.Length == 0 && !s.tunnels()
	if w, ok := req.Body.(stream.Whole); ok && req.Length != 0 {
		if rest, ok := w.Bytes(); ok && len(rest) <= maxInline && (req.Length < 0 || int64(len(rest)) == req.Length) {
			content, inline = rest, true
		}
	}
	length := req.Length
	if inline {
		length = int64(len(content))
	}
	head, err := appendRequestHead(beginHeaders(s.head[:0]), req, s.c.cfg.Scheme, length)
	if s.head = head; err != nil {
		return nil, false, &stream.Fault{Kind: stream.Internal, Cause: err}
	}
	return content, inline, nil
}

// appendRequestHead appends the fields of req, whose body has length bytes (-1:
// not known).
func appendRequestHead(dst []byte, req *stream.Request, scheme string, length int64) ([]byte, error) {
	t := &req.Target
	if !validToken(req.Method) || !is(t.Path, targetByte) || !is(t.Query, targetByte) ||
		!is(t.Host, targetByte) || !is(t.Port, targetByte) {
		return dst, errWriteTarget
	}
	if scheme == "" {
		scheme = t.Scheme
	}
	method := req.Method
	if req.Upgrade != "" {
		method = "CONNECT" // RFC 8441 section 4
	}
	switch method {
	case "GET":
		dst = appendIndexed(dst, staticGET)
	case "POST":
		dst = appendIndexed(dst, staticPOST)
	default:
		dst = appendPair(dst, staticGET, method)
	}
	if method != "CONNECT" || req.Upgrade != "" {
		if scheme == "https" {
			dst = appendIndexed(dst, staticHTTPS)
		} else {
			dst = appendIndexed(dst, staticHTTP)
		}
		dst = appendPath(dst, t)
	}
	dst = appendAuthority(dst, t)
	if req.Upgrade != "" {
		if !validToken(req.Upgrade) {
			return dst, errProtocolName
		}
		dst = appendText(appendText(append(dst, 0), ":protocol"), req.Upgrade)
	}
	dst, err := appendRequestFields(dst, req)
	if err != nil {
		return dst, err
	}
	if length > 0 || length == 0 && definesContent(method) {
		dst = appendLength(dst, length)
	}
	if a, ok := req.Body.(stream.Announcer); ok && length != 0 {
		if list := announceable(a.Announced()); list != "" {
			dst = appendText(append(dst, wireName[stream.Trailer]...), list)
		}
	}
	if req.GRPC != stream.NotGRPC { // gRPC over HTTP/2 asks for it
		dst = append(dst, teTrailers...)
	}
	return dst, nil
}

// teTrailers is the field as it stands in a header block.
var teTrailers = string(appendText(literalName(nil, "te", false), "trailers"))

// appendRequestFields appends the header. The key of a WebSocket handshake is a
// matter of HTTP/1 (RFC 8441 section 5).
func appendRequestFields(dst []byte, req *stream.Request) ([]byte, error) {
	if req.Upgrade == "" {
		return appendFields(dst, &req.Header)
	}
	var err error
	fields := req.Header.Fields()
	for i := range fields {
		if f := &fields[i]; !ownedField[f.ID] && f.ID != stream.SecWebSocketKey {
			if dst, err = appendField(dst, f); err != nil {
				return dst, err
			}
		}
	}
	return dst, nil
}

// appendPath appends :path without making a string of it.
func appendPath(dst []byte, t *stream.Target) []byte {
	size := len(t.Path)
	if t.HasQuery {
		size += 1 + len(t.Query)
	}
	if t.Path == "" {
		size++
	}
	if size == 1 && t.Path != "*" {
		return appendIndexed(dst, staticSlash)
	}
	dst = appendInt(appendInt(dst, 4, staticSlash), 7, size)
	if t.Path == "" {
		dst = append(dst, '/')
	}
	return t.AppendURI(dst)
}

// appendAuthority appends :authority.
func appendAuthority(dst []byte, t *stream.Target) []byte {
	size := len(t.Host)
	if t.Port != "" {
		size += 1 + len(t.Port)
	}
	return t.AppendAuthority(appendInt(appendInt(dst, 4, staticAuthority), 7, size))
}

// definesContent tells whether content means something in a request with that
// method, so that its absence is said.
func definesContent(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

// begin opens the stream with the head and as much of content as may leave;
// rest is what may not.
func (s *clientStream) begin(content []byte, inline bool) (rest []byte, f *stream.Fault) {
	c, o := s.c, &s.c.out
	o.mu.Lock()
	if f := c.mayOpen(s.req.Upgrade); f != nil {
		o.mu.Unlock()
		if f.Retry == stream.RetryUnsent {
			c.Retire()
		}
		return nil, f
	}
	id := c.next
	c.next += 2
	c.streams[id] = s
	s.opened = true
	o.open(&s.send, id)
	s.recv.init(c.cfg.StreamWindow)
	s.bodyless, s.tunnel = s.req.Method == "HEAD", s.tunnels()
	var flags uint8
	if inline && len(content) == 0 {
		flags, s.sentEnd = flagEndStream, true
	}
	s.head = endHeaders(s.head, 0, id, flags, o.peer.maxFrame)
	o.begin()
	o.buf = append(o.buf, s.head...)
	if len(content) > 0 {
		n := o.allow(&s.send, len(content))
		if s.sentEnd = n == len(content); n > 0 {
			o.appendData(id, content[:n], s.sentEnd)
		}
		content = content[n:]
	}
	o.mu.Unlock()
	c.earn(framesPerStream)
	if cap(s.head) > keepHead {
		s.head = nil
	}
	c.flush()
	return content, nil
}

// mayOpen is nil when a stream may be opened. out.mu is held.
func (c *Client) mayOpen(upgrade string) *stream.Fault {
	switch {
	case c.fault != nil || c.out.over != nil:
		return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errServerGone}
	case c.in.going:
		return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errGoneAway}
	case c.next > maxStream:
		return &stream.Fault{Kind: stream.UpstreamClosed, Retry: stream.RetryUnsent, Cause: errRetired}
	case upgrade != "" && !c.out.peer.connectProtocol:
		return &stream.Fault{Kind: stream.UpgradeRefused, Cause: errNoExtended}
	}
	return nil
}

// receive waits for the final head.
func (s *clientStream) receive() (*stream.Response, *stream.Fault) {
	deadline := s.req.Deadline
	if s.budget > 0 {
		deadline = noDeadline
	}
	s.guard.EnterUntil(uint8(stream.PhaseUpstreamHead), s.ctx, deadline)
	for {
		if late := s.await(deadline); late {
			return nil, verdictFault(stream.PhaseUpstreamHead, watchdog.Late)
		}
		if s.budget > 0 && s.up.over() {
			deadline = time.Now().Add(s.budget)
			s.budget = 0
			s.guard.EnterUntil(uint8(stream.PhaseUpstreamHead), s.ctx, deadline)
		}
		here, f := s.passInterims()
		if f != nil {
			return nil, f
		}
		if here {
			return s.respond()
		}
	}
}

// await waits for a change. A deadline that is near is kept exactly, one that
// is not is the watchdog's.
func (s *clientStream) await(deadline time.Time) (late bool) {
	if deadline.IsZero() {
		<-s.wake
		return false
	}
	left := time.Until(deadline)
	if left > deadlineNear {
		<-s.wake
		return false
	}
	if s.timer == nil {
		s.timer = time.NewTimer(left)
	} else {
		s.timer.Reset(left)
	}
	select {
	case <-s.wake:
	case <-s.timer.C:
		late = true
	}
	s.timer.Stop()
	return late
}

// passInterims passes on what came before the final head. 100 (Continue)
// answers nothing that we sent: the server half tells the client itself.
func (s *clientStream) passInterims() (here bool, f *stream.Fault) {
	b := &s.in
	b.mu.Lock()
	came := s.interims
	s.interims = nil
	here, f = s.headHere, b.fault
	b.mu.Unlock()
	for i := range came {
		if came[i].status == 100 || s.req.Interim == nil {
			continue
		}
		if err := s.req.Interim(came[i].status, &came[i].header); err != nil {
			return false, stream.AsFault(err)
		}
	}
	if here {
		return true, nil
	}
	return false, f
}

// respond makes the response of the head that is there.
func (s *clientStream) respond() (*stream.Response, *stream.Fault) {
	_, v := s.guard.Fired()
	if !s.guard.Rest() {
		return nil, verdictFault(stream.PhaseUpstreamHead, v)
	}
	if s.req.GRPC != stream.NotGRPC {
		s.req.Exchange.SetGRPCStatus(&s.header)
	}
	if s.tunnels() && s.status/100 == 2 {
		return s.openTunnel(), nil
	}
	r := &clientReply{s: s}
	r.Status, r.Header, r.Length, r.Body = s.status, s.header, s.length, r
	switch {
	case s.status == 204:
		r.Length = 0
	case r.Length < 0 && s.req.Method != "HEAD" && s.status != 304 && s.in.nothing():
		r.Length = 0
	}
	if payer := s.c.cfg.Payer; payer != nil && (r.Length < 0 || r.Length > muchContent) {
		s.guard.Bill(payer(s.req))
		s.in.keep(&s.guard)
	}
	s.header = stream.Header{}
	s.pace.begin(&s.c.cfg.Phases[stream.PhaseUpstreamBody])
	return &r.Response, nil
}

// nothing tells whether the content is complete and there was none, without a
// trailer.
func (b *inbox) nothing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended && b.total == 0 && !b.trailers
}
