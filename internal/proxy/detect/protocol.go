package detect

import (
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/clienthello"
	"github.com/weirproxy/weir/stream"
)

// Protocol is what a client speaks.
type Protocol uint8

// The protocols.
const (
	Opaque Protocol = iota // none of the others: carried as it is
	TLS
	HTTP1
	HTTP2 // begins with the preface (RFC 9113 section 3.4)
	NumProtocols
)

var protocolNames = [NumProtocols]string{"opaque", "tls", "http1", "http2"}

func (p Protocol) String() string { return protocolNames[p] }

// Protocol tells by the first bytes what the client speaks. It waits for them
// no longer than Config.Wait: a client that says nothing waits for the server
// to begin, and one that stops inside of what would decide is taken for a
// client of neither protocol.
func (s *Stage) Protocol(nc net.Conn) (net.Conn, Protocol, *stream.Fault) {
	if err := nc.SetReadDeadline(time.Now().Add(s.cfg.Wait)); err != nil {
		return nil, Opaque, s.left(err)
	}
	read, p, err := readProtocol(nc)
	if err != nil && !isEnd(err) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, Opaque, s.left(err)
	}
	_ = nc.SetReadDeadline(time.Time{}) // fails on what is closed, which the next read says
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.Stats.Quiet.Add(1)
	}
	s.Stats.Detected[p].Add(1)
	return ahead(nc, read), p, nil
}

func (s *Stage) left(err error) *stream.Fault {
	s.Stats.Gone.Add(1)
	return &stream.Fault{Kind: stream.ClientGone, Cause: err}
}

// readProtocol reads until the protocol is told, or nothing more comes.
func readProtocol(nc net.Conn) (read []byte, p Protocol, err error) {
	buf, have := make([]byte, longestLook), 0
	for {
		n, err := nc.Read(buf[have:])
		have += n
		if n > 0 {
			if p, told := classify(buf[:have]); told {
				return buf[:have], p, nil
			}
		}
		if err != nil {
			return buf[:have], Opaque, err
		}
	}
}

const (
	// longestLook is how many bytes classify needs at most.
	longestLook   = longestMethod + len(" https:")
	longestMethod = 17 // UPDATEREDIRECTREF (RFC 4437)
	preface       = "PRI * HTTP/2.0"
)

// classify tells the protocol by the first bytes. Once it is told, more bytes
// do not change it.
func classify(b []byte) (p Protocol, told bool) {
	if len(b) == 0 {
		return Opaque, false
	}
	switch clienthello.Begins(b) {
	case clienthello.More:
		return Opaque, false
	case clienthello.Complete, clienthello.Malformed: // TLS says what is wrong with it
		return TLS, true
	}
	if n := min(len(b), len(preface)); string(b[:n]) == preface[:n] {
		return HTTP2, n == len(preface)
	}
	return classifyLine(b)
}

// classifyLine tells whether this is a request line of HTTP/1 (RFC 9112 section
// 3): a method, a space and the start of a target. Many protocols begin with a
// word; no other puts a path or a URL of the web behind it.
func classifyLine(b []byte) (p Protocol, told bool) {
	space := 0
	for space < len(b) && isToken(b[space]) {
		space++
	}
	switch {
	case space > longestMethod:
		return Opaque, true
	case space == len(b):
		return Opaque, false
	case space == 0 || b[space] != ' ':
		return Opaque, true
	}
	target := b[space+1:]
	switch {
	case string(b[:space]) == "CONNECT": // the target is any host
		return HTTP1, true
	case len(target) == 0:
		return Opaque, false
	case target[0] == '/' || target[0] == '*':
		return HTTP1, true
	}
	for _, scheme := range [...]string{"http:", "https:"} {
		n := min(len(target), len(scheme))
		if strings.EqualFold(string(target[:n]), scheme[:n]) {
			return HTTP1, n == len(scheme)
		}
	}
	return Opaque, true
}

// isToken tells whether c may stand in a method (RFC 9110 section 5.6.2).
func isToken(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
