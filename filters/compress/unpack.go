package compress

import (
	"strings"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// unpacker decodes the requests of a route.
type unpacker struct {
	maxBytes  int64
	maxRatio  int64
	maxWindow int64
	pools     [numCodings]sync.Pool
}

func newUnpacker(s *Requests) *unpacker {
	return &unpacker{maxBytes: int64(s.MaxBytes), maxRatio: int64(s.MaxRatio), maxWindow: int64(s.MaxWindow)}
}

// unpack makes the request one without a content coding. The fault refuses it.
func (u *unpacker) unpack(req *stream.Request) *stream.Fault {
	c, found, fault := codingOfRequest(&req.Header)
	if fault != nil || !found {
		return fault
	}
	req.Header.DelID(stream.ContentEncoding)
	if req.Length == 0 || c == identity {
		return nil // no content, or as it is
	}
	req.Header.DelFunc(func(f *stream.Field) bool { return f.ID == stream.Unknown && isDigest(f.Name) })
	req.Body, req.Length = &decoded{unpacker: u, coding: c, source: source{body: req.Body}}, -1
	return nil
}

// codingOfRequest reads Content-Encoding. More than one coding multiplies what
// a bomb can do and has no use, so it is refused.
func codingOfRequest(h *stream.Header) (c coding, found bool, fault *stream.Fault) {
	c = identity
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID != stream.ContentEncoding {
			continue
		}
		found = true
		for rest := fields[i].Value; rest != ""; {
			var name string
			name, rest, _ = strings.Cut(rest, ",")
			name = trim(name)
			if name == "" || stream.EqualFold(name, "identity") {
				continue
			}
			own, known := codingOf(name)
			if !known {
				return 0, true, stream.Faultf(stream.ContentUnsupported, stream.RetryNever,
					"compress: the request has the content coding %.40q, and only gzip, br and zstd are decoded", name)
			}
			if c != identity {
				return 0, true, stream.Faultf(stream.ContentUnsupported, stream.RetryNever,
					"compress: the request has more than one content coding, and one is decoded")
			}
			c = own
		}
	}
	return c, found, nil
}
