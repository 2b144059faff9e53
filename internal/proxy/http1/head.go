package http1

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weirproxy/weir/stream"
)

// The refusals of a head, without a byte of the peer: they go to logs.
var (
	errBareLF     = errors.New("a line ends in LF without CR")
	errEmptyHead  = errors.New("an empty line stands where a head begins")
	errNotHTTP    = errors.New("the first byte does not begin an HTTP/1 message")
	errFieldName  = errors.New("the field name is empty or no token")
	errFieldValue = errors.New("the field value has a control byte")
)

// scanner finds the lines of a head or a trailer section among the bytes that
// have arrived. It looks at no byte twice, however small the pieces are.
type scanner struct {
	ends  []int // the index behind the CRLF of each line found, the empty one not included
	at    int   // where to go on; once scan is done, the size of the head
	first int   // lines before the fields: 1 in a head, 0 in a trailer section
}

func (s *scanner) reset(first int) {
	s.ends, s.at, s.first = s.ends[:0], 0, first
}

// scan looks at b, which begins where the head begins. It is done when the
// empty line that ends a head is there.
func (s *scanner) scan(b []byte, m *meter) (done bool, f *stream.Fault) {
	start := 0
	if n := len(s.ends); n > 0 {
		start = s.ends[n-1]
	}
	for {
		i := bytes.IndexByte(b[s.at:], '\n')
		if i < 0 {
			s.at = len(b)
			return false, s.judge(m, len(b)-start, false)
		}
		end := s.at + i + 1
		if end-start < 2 || b[end-2] != '\r' {
			return false, m.side.bad(errBareLF)
		}
		s.at = end
		if end-start == 2 {
			if s.first > 0 && len(s.ends) == 0 {
				return false, m.side.bad(errEmptyHead)
			}
			return true, nil
		}
		if f := s.judge(m, end-start, true); f != nil {
			return false, f
		}
		s.ends = append(s.ends, end)
		start = end
	}
}

// judge holds a line of that size, or the part of it that is there, against the limits.
func (s *scanner) judge(m *meter, size int, complete bool) *stream.Fault {
	switch {
	case len(s.ends) < s.first:
		return m.firstLine(size)
	case complete:
		return m.field(size)
	default:
		return m.over(size)
	}
}

// line is line i of the head without its CRLF.
func (s *scanner) line(head string, i int) string {
	start := 0
	if i > 0 {
		start = s.ends[i-1]
	}
	return head[start : s.ends[i]-2]
}

// cutField reads one field line (RFC 9112 section 5). A line that begins with
// white space (obs-fold), a space before the colon and an empty name are all
// no token.
func cutField(line string) (stream.Field, error) {
	i := 0
	for i < len(line) && class[line[i]]&tokenByte != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return stream.Field{}, errFieldName
	}
	value := trimOWS(line[i+1:])
	if !validValue(value) {
		return stream.Field{}, errFieldValue
	}
	name := line[:i]
	return stream.Field{Name: name, Value: value, ID: stream.Lookup(name)}, nil
}

// atField says which field of a message err is about.
func atField(i int, err error) error { return fmt.Errorf("field %d: %w", i, err) }
