package http1

import (
	"errors"

	"github.com/weirproxy/weir/stream"
)

// The refusals of a response head, without a byte of the peer.
var (
	errStatusLine    = errors.New("the status line is not version, three digits and a reason")
	errStatusVersion = errors.New("the version of the response is neither HTTP/1.1 nor HTTP/1.0")
	errSwitch        = errors.New("101 (Switching Protocols) to a protocol that was not asked for")
)

// responseReader turns the head of a response into a stream.Response.
type responseReader struct {
	scan  scanner
	m     meter
	fr    framing
	proto stream.Proto
}

// parse reads head, whose lines scan has found, into resp.
func (r *responseReader) parse(head string, resp *stream.Response) *stream.Fault {
	if err := r.parseLine(r.scan.line(head, 0), resp); err != nil {
		return responseSide.bad(err)
	}
	resp.Header.Grow(len(r.scan.ends) - 1)
	if err := r.fr.read(&r.scan, head, &resp.Header, r.proto); err != nil {
		return responseSide.bad(err)
	}
	r.fr.dropOptions(&resp.Header)
	return nil
}

// parseLine reads the status line (RFC 9112 section 4). The space before an
// absent reason may be missing too; the reason is not passed on.
func (r *responseReader) parseLine(line string, resp *stream.Response) error {
	const size = len("HTTP/1.1 200")
	if len(line) < size || line[8] != ' ' {
		return errStatusLine
	}
	switch line[:8] {
	case "HTTP/1.1":
		r.proto = stream.HTTP11
	case "HTTP/1.0":
		r.proto = stream.HTTP10
	default:
		return errStatusVersion
	}
	if line[9] < '1' || line[9] > '9' || !isDigit(line[10]) || !isDigit(line[11]) {
		return errStatusLine
	}
	resp.Status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	if len(line) > size && (line[size] != ' ' || !is(line[size:], valueByte)) {
		return errStatusLine
	}
	return nil
}

// reusable tells whether the upstream lets the connection live on.
func (r *responseReader) reusable() bool {
	return !r.fr.close && (r.proto == stream.HTTP11 || r.fr.keepAlive)
}

// switched tells whether a 101 answers the protocol that was asked for.
func (r *responseReader) switched(asked string) bool {
	return asked != "" && r.fr.upgrade && r.fr.upgrades == 1 && stream.EqualFold(r.fr.protocol, asked) &&
		r.fr.codings == 0 && r.fr.length <= 0
}

// framing says how the body of a response is delimited (RFC 9112 section 6.3)
// and its length: what the body has, or declares when there is none to read.
func (r *responseReader) framing(status int, head bool) (kind bodyKind, left, length int64) {
	switch {
	case status == 204:
		return noContent, 0, 0
	case head || status == 304:
		return noContent, 0, r.fr.length
	case r.fr.chunked:
		return chunkedContent, 0, -1
	case r.fr.length >= 0:
		return knownContent, r.fr.length, r.fr.length
	}
	return contentToClose, 0, -1
}
