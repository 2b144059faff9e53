package compress

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// eligible tells whether a response is one that this filter compresses for
// clients that accept it. The answer depends on the response alone, so that
// Vary stands in all of them or in none.
func (p *packer) eligible(resp *stream.Response, head bool) bool {
	switch {
	case resp.Status < 200, resp.Status == 204, resp.Status == 205, resp.Status == 206, resp.Status == 304:
		return false
	case resp.Length >= 0 && resp.Length < p.minLength, resp.Length == 0:
		return false
	case p.small(resp.Body, head):
		return false
	}
	if _, tunnel := resp.Body.(stream.Duplex); tunnel {
		return false
	}
	return p.allows(&resp.Header)
}

// small tells whether a body of no declared length turns out to be short.
func (p *packer) small(body stream.Body, head bool) bool {
	whole, ok := body.(stream.Whole)
	if !ok || head {
		return false
	}
	content, ok := whole.Bytes()
	return ok && (int64(len(content)) < p.minLength || len(content) == 0)
}

// allows reads the header of a response.
func (p *packer) allows(h *stream.Header) bool {
	worthIt := false
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case stream.ContentEncoding, stream.ContentRange:
			return false
		case stream.CacheControl:
			if hasMember(f.Value, "no-transform") { // RFC 9111 section 5.2.2.6
				return false
			}
		case stream.ContentType:
			worthIt = p.types.match(f.Value)
		case stream.Unknown:
			if isDigest(f.Name) {
				return false
			}
		}
	}
	return worthIt
}

// isDigest: fields that hold a hash over the content as it is now (RFC 9530,
// and its forerunners). Who sent one wants it to be checked at the other end.
func isDigest(name string) bool {
	switch len(name) {
	case len("Digest"):
		return stream.EqualFold(name, "Digest")
	case len("Content-MD5"): // and of Repr-Digest
		return stream.EqualFold(name, "Content-MD5") || stream.EqualFold(name, "Repr-Digest")
	case len("Content-Digest"):
		return stream.EqualFold(name, "Content-Digest")
	}
	return false
}

// typeSet is a list of content types, compiled.
type typeSet struct {
	patterns     []typePattern
	eventStreams bool
}

type typePattern struct {
	head, tail string // what stands before and behind "*"
	exact      bool   // there is no "*"
}

func compileTypes(patterns []string, eventStreams bool) typeSet {
	set := typeSet{eventStreams: eventStreams}
	for _, p := range patterns {
		head, tail, star := strings.Cut(p, "*")
		set.patterns = append(set.patterns, typePattern{head: head, tail: tail, exact: !star})
	}
	return set
}

func (s *typeSet) match(contentType string) bool {
	if end := strings.IndexByte(contentType, ';'); end >= 0 {
		contentType = contentType[:end]
	}
	contentType = trim(contentType)
	if stream.EqualFold(contentType, "text/event-stream") {
		return s.eventStreams
	}
	const grpc = "application/grpc" // has compression of its own, and -web-text base64
	if len(contentType) >= len(grpc) && stream.EqualFold(contentType[:len(grpc)], grpc) {
		return false
	}
	for i := range s.patterns {
		if s.patterns[i].match(contentType) {
			return true
		}
	}
	return false
}

func (p *typePattern) match(s string) bool {
	if p.exact {
		return stream.EqualFold(s, p.head)
	}
	return len(s) >= len(p.head)+len(p.tail) &&
		stream.EqualFold(s[:len(p.head)], p.head) && stream.EqualFold(s[len(s)-len(p.tail):], p.tail)
}
