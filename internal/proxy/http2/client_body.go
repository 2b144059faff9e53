package http2

import (
	"io"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// clientReply is one response and its body. It is made anew for each exchange,
// so that whoever closes a body twice does not close another one.
type clientReply struct {
	stream.Response
	s *clientStream // nil once closed
}

var (
	_ stream.Whole     = (*clientReply)(nil)
	_ stream.Awaiter   = (*clientReply)(nil)
	_ stream.Announcer = (*clientReply)(nil)
)

// Read reads content; see stream.Body.
func (r *clientReply) Read(p []byte) (int, error) {
	s := r.s
	if s == nil {
		return 0, &stream.Fault{Kind: stream.Internal, Cause: errReplyClosed}
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := s.in.get(p)
		if n > 0 {
			s.took(n)
		}
		if err == io.EOF {
			s.noteGRPC()
		}
		if n > 0 || err != nil {
			return n, err
		}
		if f := s.waitBody(); f != nil {
			return 0, f
		}
	}
}

// Await waits until Read gives something; see stream.Awaiter.
func (r *clientReply) Await() error {
	if s := r.s; s != nil && !s.in.ready() {
		if f := s.waitBody(); f != nil {
			return f
		}
	}
	return nil
}

// waitBody waits for content, for a fault or for the end.
func (s *clientStream) waitBody() *stream.Fault {
	s.guard.EnterUntil(uint8(stream.PhaseUpstreamBody), s.ctx, noDeadline)
	start, had := time.Now(), s.in.arrived()
	s.in.wait()
	v := s.pace.wait(time.Since(start), int(s.in.arrived()-had))
	if _, fired := s.guard.Fired(); !s.guard.Rest() {
		v = fired
	}
	if v == watchdog.None {
		return nil
	}
	f := verdictFault(stream.PhaseUpstreamBody, v)
	s.in.fail(f)
	return f
}

// Close ends the exchange; see stream.Body.
func (r *clientReply) Close() error {
	s := r.s
	if s == nil {
		return nil
	}
	r.s = nil
	s.header = r.Header
	s.header.Reset()
	r.Header = stream.Header{}
	ended := s.c.ended
	s.end()
	ended()
	return nil
}

// Trailer is the trailer section; see stream.Body.
func (r *clientReply) Trailer() *stream.Header {
	if r.s == nil {
		return nil
	}
	b := &r.s.in
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended || !b.trailers {
		return nil
	}
	return &b.trailer
}

// Bytes is the rest of the body if all of it came; see stream.Whole.
func (r *clientReply) Bytes() ([]byte, bool) {
	if r.s == nil {
		return nil, false
	}
	return r.s.in.whole()
}

// Announced is the Trailer field; see stream.Announcer.
func (r *clientReply) Announced() string {
	if r.s == nil {
		return ""
	}
	return announceable(r.s.announced)
}

// announceable is a Trailer value, if it names only fields that we let through.
func announceable(list string) string {
	for rest := list; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ",")
		name = strings.Trim(name, " \t")
		if keep, _ := trailerAllowed(strings.ToLower(name)); !keep || !validToken(name) {
			return ""
		}
	}
	return list
}
