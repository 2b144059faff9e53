package http1

import (
	"github.com/weirproxy/weir/stream"
)

// request is a request as it leaves: the head, and behind it the body when
// that is small.
type request struct {
	page   *page
	bytes  []byte // begins in page
	inline bool   // all of the request is in bytes
}

func (r *request) release() {
	if r.page != nil {
		pages.Put(r.page)
	}
	r.page, r.bytes = nil, nil
}

// prepare makes the bytes of the request. A fault leaves the connection as it was.
func (c *Client) prepare() *stream.Fault {
	req := c.req
	if p, ok := req.Body.(stream.Prefetcher); ok {
		if err := p.Prefetch(maxPrefetch); err != nil {
			return stream.AsFault(err)
		}
	}
	var content []byte
	c.out.inline = req.Length == 0
	if w, ok := req.Body.(stream.Whole); ok && req.Length != 0 {
		if rest, ok := w.Bytes(); ok && len(rest) <= maxPrefetch && (req.Length < 0 || int64(len(rest)) == req.Length) {
			content, c.out.inline = rest, true
		}
	}
	length := req.Length
	if c.out.inline {
		length = int64(len(content))
	}
	c.out.page = pages.Get().(*page)
	out, err := c.appendRequest(c.out.page[:0], length)
	if err != nil {
		c.out.release()
		return &stream.Fault{Kind: stream.Internal, Cause: err}
	}
	c.out.bytes = append(out, content...)
	return nil
}

// appendRequest appends the head of the request, whose body has length bytes
// (-1: not known).
func (c *Client) appendRequest(dst []byte, length int64) ([]byte, error) {
	req := c.req
	t := &req.Target
	if !validToken(req.Method) || !is(t.Path, targetByte) || !is(t.Query, targetByte) ||
		!is(t.Host, targetByte) || !is(t.Port, targetByte) {
		return dst, errWriteTarget
	}
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	switch {
	case c.connecting(): // authority-form, RFC 9112 section 3.2.3
		if t.Host == "" || t.Port == "" || length != 0 {
			return dst, errWriteTarget
		}
		dst = t.AppendAuthority(dst)
	case t.Path == "":
		dst = append(dst, '/')
		fallthrough
	default:
		dst = t.AppendURI(dst)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = t.AppendAuthority(dst)
	dst = append(dst, '\r', '\n')
	dst, err := appendFields(dst, &req.Header)
	if err != nil {
		return dst, err
	}
	if req.Upgrade != "" {
		if !validProtocol(req.Upgrade) {
			return dst, errWriteField
		}
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, req.Upgrade...)
		dst = append(dst, '\r', '\n')
		if req.Upgrade == websocket {
			dst, c.key = appendKey(dst, req)
		}
	}
	switch {
	case length > 0:
		dst = appendLength(dst, length)
	case length < 0:
		dst = appendChunked(dst, req.Body)
	case definesContent(req.Method): // RFC 9110 section 8.6
		dst = appendLength(dst, 0)
	}
	return append(dst, '\r', '\n'), nil
}

// definesContent tells whether content means something in a request with that
// method, so that its absence is said.
func definesContent(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}
