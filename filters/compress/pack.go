package compress

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// packer compresses the responses of a route.
type packer struct {
	order     []coding
	types     typeSet
	minLength int64
	maxActive int64
	levels    Levels

	active atomic.Int64 // encoders in use
	pools  [numCodings]sync.Pool
}

func newPacker(s *Responses) *packer {
	p := &packer{
		types: compileTypes(s.ContentTypes, s.EventStreams), minLength: int64(s.MinLength),
		maxActive: int64(s.MaxActive), levels: s.Levels,
	}
	for _, name := range s.Encodings {
		if c, known := codingOf(name); known {
			p.order = append(p.order, c)
		}
	}
	return p
}

// pack compresses the response, if it is one to compress and the client accepts it.
func (p *packer) pack(resp *stream.Response, a *asked) {
	if resp.Status == 304 {
		p.revalidated(resp, a)
		return
	}
	if a.untouched || !p.eligible(resp, a.head) {
		return
	}
	addVary(&resp.Header)
	c := a.accepts.choose(p.order)
	if c == identity || a.part {
		return
	}
	if !a.head && !p.encode(resp, c) {
		return
	}
	if a.head {
		resp.Length = -1
	}
	resp.Header.AddID(stream.ContentEncoding, codingNames[c])
	resp.Header.DelID(stream.AcceptRanges)
	weaken(&resp.Header)
}

// encode replaces the body; false when it stays as it is.
func (p *packer) encode(resp *stream.Response, c coding) bool {
	b := p.take(c)
	if b == nil {
		return false
	}
	body := &encoded{packer: p, bench: b, source: resp.Body, live: resp.Length < 0}
	if content, ok := inMemory(resp.Body); ok {
		if !body.whole(content) {
			p.give(b)
			return false
		}
		resp.Body, resp.Length = body, int64(len(b.out))
		return true
	}
	resp.Body, resp.Length = body, -1
	return true
}

// maxWhole is the size up to which content that is in memory is encoded at
// once, so that it leaves with its length and in one write.
const maxWhole = 64 << 10

func inMemory(body stream.Body) ([]byte, bool) {
	whole, ok := body.(stream.Whole)
	if !ok {
		return nil, false
	}
	content, ok := whole.Bytes()
	return content, ok && len(content) <= maxWhole
}

// revalidated: 304 confirms what the client holds by the same name as the 200
// had (RFC 9110 section 15.4.5). That name was weak, if the client shows it so.
func (p *packer) revalidated(resp *stream.Response, a *asked) {
	tag, ok := resp.Header.GetID(stream.ETag)
	if !ok || strings.HasPrefix(tag, "W/") {
		return
	}
	at := strings.Index(a.known, tag)
	if at >= 2 && a.known[at-2:at] == "W/" {
		weaken(&resp.Header)
		addVary(&resp.Header)
	}
}

// weaken: two encodings of one content are equal in meaning, not in bytes (RFC
// 9110 section 8.8.3.3).
func weaken(h *stream.Header) {
	if tag, ok := h.GetID(stream.ETag); ok && !strings.HasPrefix(tag, "W/") {
		h.SetID(stream.ETag, "W/"+tag)
	}
}

func addVary(h *stream.Header) {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if f.ID == stream.Vary && (hasMember(f.Value, "Accept-Encoding") || hasMember(f.Value, "*")) {
			return
		}
	}
	h.AddID(stream.Vary, "Accept-Encoding")
}
