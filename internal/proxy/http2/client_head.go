package http2

import (
	"github.com/weirproxy/weir/stream"
)

// takeHead reads a header block that came on the stream. The fault, of the
// response, ends the stream.
func (s *clientStream) takeHead(fields []headField, ended bool) *stream.Fault {
	if s.headDone {
		return s.takeTrailer(fields, ended)
	}
	status, ok := statusOf(fields)
	switch {
	case !ok || status == 101: // RFC 9113 section 8.6: there is no switch
		return responseSide.bad(errStatus)
	case status < 200:
		return s.takeInterim(status, fields[1:], ended)
	}
	s.header.Reset()
	s.header.Grow(len(fields) - 1 + addedFields)
	if err := s.takeFields(fields[1:], &s.header); err != nil {
		return responseSide.bad(err)
	}
	s.status = status
	s.headDone = true
	switch {
	case s.bodyless || status == 204 || status == 304:
		s.left = 0
	case s.tunnel && status/100 == 2:
		s.left = -1
	default:
		s.left = s.length
	}
	if ended {
		if f := s.contentEnds(); f != nil {
			return f
		}
	}
	b := &s.in
	b.mu.Lock()
	s.headHere = true
	b.mu.Unlock()
	if ended {
		b.end()
	}
	return nil
}

// statusOf reads :status, which is the first field and the only one of its kind.
func statusOf(fields []headField) (status int, ok bool) {
	if len(fields) == 0 || fields[0].pseudo != pseudoStatus {
		return 0, false
	}
	v := fields[0].value
	if len(v) != 3 || v[0] < '1' || v[0] > '9' || !isDigit(v[1]) || !isDigit(v[2]) {
		return 0, false
	}
	return int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0'), true
}

func (s *clientStream) takeInterim(status int, fields []headField, ended bool) *stream.Fault {
	if s.heads++; s.heads > maxInterim {
		return responseSide.bad(errInterims)
	}
	if ended {
		return responseSide.bad(errInterimEnd)
	}
	i := interim{status: status}
	if err := s.takeFields(fields, &i.header); err != nil {
		return responseSide.bad(err)
	}
	s.length, s.announced = -1, ""
	s.in.mu.Lock()
	s.interims = append(s.interims, i)
	s.in.mu.Unlock()
	return nil
}

// takeFields takes the regular fields: those that are owned into facts, the
// others into header.
func (s *clientStream) takeFields(fields []headField, header *stream.Header) error {
	for i := range fields {
		f := &fields[i]
		switch {
		case f.pseudo != notPseudo:
			return errPseudoOrder
		case !f.sound:
			return errField
		case !ownedField[f.id]:
			header.Append(stream.Field{Name: f.name, Value: f.value, ID: f.id})
			continue
		}
		switch f.id {
		case stream.Connection, stream.ProxyConnection, stream.KeepAlive, stream.TransferEncoding, stream.Upgrade, stream.TE:
			return errConnection
		case stream.ContentLength:
			n, ok := parseLength(f.value)
			if !ok || s.length >= 0 {
				return errLength
			}
			s.length = n
		case stream.Trailer:
			if s.announced == "" {
				s.announced = f.value
			}
		}
	}
	return nil
}

// takeTrailer reads a trailer section, which ends the stream.
func (s *clientStream) takeTrailer(fields []headField, ended bool) *stream.Fault {
	if !ended {
		return responseSide.bad(errTrailerEnd)
	}
	if f := s.contentEnds(); f != nil {
		return f
	}
	b := &s.in
	b.mu.Lock()
	kept, err := readTrailer(fields, &b.trailer)
	b.trailers = true // whoever reuses the inbox clears it
	if err == nil && !kept {
		b.trailers = false
	}
	b.mu.Unlock()
	if err != nil {
		return responseSide.bad(err)
	}
	b.end()
	return nil
}

// takeContent takes n bytes off what Content-Length says.
func (s *clientStream) takeContent(n int) *stream.Fault {
	switch {
	case !s.headDone:
		return responseSide.bad(errContentFirst)
	case s.left < 0 || n == 0:
		return nil
	}
	if s.left -= int64(n); s.left >= 0 {
		return nil
	}
	if s.length < 0 || s.bodyless || s.status == 204 || s.status == 304 {
		return responseSide.bad(errContentNone)
	}
	return responseSide.bad(errContentLong)
}

// contentEnds judges the end of the content.
func (s *clientStream) contentEnds() *stream.Fault {
	if s.left > 0 {
		return &stream.Fault{Kind: stream.ResponseTruncated, Cause: errContentShort}
	}
	return nil
}
