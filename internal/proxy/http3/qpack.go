package http3

import (
	"errors"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// Field sections are read and written here by RFC 9204 with the static table
// only: no table is offered to the peer and none of its is used, so a section
// depends on nothing that came before, and nothing has to be kept or waited for.
// A section is decoded into one string, whatever the number of its fields.

var (
	errDynamicTable = errors.New("a field section refers to a dynamic table that was not offered")
	errStaticIndex  = errors.New("a field section refers to an entry that the static table does not have")
	errSectionCut   = errors.New("a field section ends inside a field")
	errInteger      = errors.New("an integer of a field section is too large")
)

// rawField is one field of a section. Name and value are in the text of the
// section from..to, or, when static, strings of the static table.
type rawField struct {
	name, value         string // of the static table
	nameFrom, nameTo    int
	valueFrom, valueTo  int
	nameText, valueText bool // in the text
}

// section is the memory that one field section is decoded in.
type section struct {
	block  []byte // as it came
	text   []byte // what its literals decode to
	fields []rawField
}

var sections = sync.Pool{New: func() any { return new(section) }}

// maxKept is the largest memory that a section keeps for the next one.
const maxKept = 32 << 10

func takeSection() *section { return sections.Get().(*section) }

func (s *section) release() {
	if cap(s.block) > maxKept || cap(s.text) > maxKept || len(s.fields) > 512 {
		return
	}
	clear(s.fields)
	s.block, s.text, s.fields = s.block[:0], s.text[:0], s.fields[:0]
	sections.Put(s)
}

// room makes block n bytes long.
func (s *section) room(n int) []byte {
	if cap(s.block) < n {
		s.block = make([]byte, n)
	}
	s.block = s.block[:n]
	return s.block
}

// decode reads block. Sizes are counted while it decodes, so that nothing is
// written beyond a limit. The error is a *connError, when the peer broke QPACK,
// or a *stream.Fault.
func (s *section) decode(m *meter) error {
	s.text, s.fields = s.text[:0], s.fields[:0]
	p := s.block
	count, p, err := prefixInt(p, 8)
	if err == nil && count != 0 {
		err = errDynamicTable
	}
	if err == nil {
		var base uint64
		if base, p, err = prefixInt(p, 7); err == nil && base != 0 {
			err = errDynamicTable
		}
	}
	for err == nil && len(p) > 0 {
		p, err = s.field(p, m)
	}
	if err == nil {
		return nil
	}
	if f, ok := err.(*stream.Fault); ok {
		return f
	}
	return fatal(codeDecompression, err.Error())
}

// field decodes one field line (RFC 9204 section 4.5).
func (s *section) field(p []byte, m *meter) ([]byte, error) {
	var f rawField
	var err error
	switch b := p[0]; {
	case b&0x80 != 0: // indexed
		if p, err = f.static(p, b&0x40 != 0, 6); err != nil {
			return nil, err
		}
		f.value = staticTable[f.valueTo].value
		f.valueTo = 0
		if fault := m.field(f.name, len(f.value)); fault != nil {
			return nil, fault
		}
		s.fields = append(s.fields, f)
		return p, nil
	case b&0x40 != 0: // literal with name reference
		if p, err = f.static(p, b&0x10 != 0, 4); err != nil {
			return nil, err
		}
		f.valueTo = 0
	case b&0x20 != 0: // literal with literal name
		if f.nameFrom, f.nameTo, p, err = s.literal(p, 3, m.room()); err != nil {
			return nil, tooLong(err, m)
		}
		f.nameText = true
	default: // with post-base index
		return nil, errDynamicTable
	}
	return s.value(p, &f, m)
}

// value decodes the value of a literal.
func (s *section) value(p []byte, f *rawField, m *meter) ([]byte, error) {
	name, room := f.name, m.room()
	if f.nameText {
		name = internPseudo(s.text[f.nameFrom:f.nameTo])
	}
	if name == ":path" {
		room = m.limits.MaxURIBytes
	}
	var err error
	if f.valueFrom, f.valueTo, p, err = s.literal(p, 7, room); err != nil {
		if errors.Is(err, errTooLong) && name == ":path" {
			return nil, &stream.Fault{Kind: m.side.uriTooLong, Limit: "max_uri_bytes"}
		}
		return nil, tooLong(err, m)
	}
	f.valueText = true
	size := f.valueTo - f.valueFrom
	if name == "" { // a literal that is no pseudo-header
		size += f.nameTo - f.nameFrom
	}
	if fault := m.field(name, size); fault != nil {
		return nil, fault
	}
	s.fields = append(s.fields, *f)
	return p, nil
}

// internPseudo is the pseudo-header that name spells, or "".
func internPseudo(name []byte) string {
	if len(name) == 0 || name[0] != ':' {
		return ""
	}
	switch string(name) {
	case ":path":
		return ":path"
	case ":method":
		return ":method"
	case ":scheme":
		return ":scheme"
	case ":status":
		return ":status"
	case ":protocol":
		return ":protocol"
	}
	return ""
}

func tooLong(err error, m *meter) error {
	if errors.Is(err, errTooLong) {
		return m.tooLarge()
	}
	return err
}

// static reads an index into the static table and takes the name from there;
// the index itself is left in valueTo.
func (f *rawField) static(p []byte, isStatic bool, bits uint) ([]byte, error) {
	if !isStatic {
		return nil, errDynamicTable
	}
	index, p, err := prefixInt(p, bits)
	switch {
	case err != nil:
		return nil, err
	case index >= uint64(len(staticTable)):
		return nil, errStaticIndex
	}
	f.name, f.valueTo = staticTable[index].name, int(index)
	return p, nil
}

// literal decodes a string into the text (RFC 9204 section 4.1.2); limit is how
// long it may be.
func (s *section) literal(p []byte, bits uint, limit int64) (from, to int, rest []byte, err error) {
	if len(p) == 0 {
		return 0, 0, nil, errSectionCut
	}
	coded := p[0]&(1<<bits) != 0
	n, p, err := prefixInt(p, bits)
	if err != nil {
		return 0, 0, nil, err
	}
	if n > uint64(len(p)) {
		return 0, 0, nil, errSectionCut
	}
	from = len(s.text)
	if coded {
		s.text, err = appendHuffman(s.text, p[:n], limit)
	} else if int64(n) > limit {
		err = errTooLong
	} else {
		s.text = append(s.text, p[:n]...)
	}
	return from, len(s.text), p[n:], err
}

// prefixInt reads an integer with a prefix of that many bits (RFC 9204 section 4.1.1).
func prefixInt(p []byte, bits uint) (n uint64, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, errSectionCut
	}
	mask := uint64(1)<<bits - 1
	n = uint64(p[0]) & mask
	if p = p[1:]; n < mask {
		return n, p, nil
	}
	for shift := uint(0); ; shift += 7 {
		switch {
		case len(p) == 0:
			return 0, nil, errSectionCut
		case shift > 28: // nothing here is that large
			return 0, nil, errInteger
		}
		b := p[0]
		n += uint64(b&0x7f) << shift
		if p = p[1:]; b&0x80 == 0 {
			return n, p, nil
		}
	}
}
