package http2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/weirproxy/weir/stream"
)

// headField is one decoded field. Its strings live as long as the message.
type headField struct {
	entry
	nameAt, nameEnd, valueAt, valueEnd int // in the arena, until finish; nameEnd 0: name is set
	literal                            bool
}

// decoder decodes the header blocks of one connection. Huffman is the
// library's; the rest is ours, because the library makes a string of every
// literal and tells of each field through a callback: here the literals of a
// block share one string, and a field of a table costs nothing.
//
// For the author of either half: call decode with the whole block (fragments
// of HEADERS and CONTINUATION joined by blockBuffer) on the goroutine that
// reads, for every block in the order of the wire, wanted or not. The fields
// that it returns are valid until its next call; their strings for ever.
type decoder struct {
	table  dynamicTable
	fields []headField
	arena  []byte
}

func (d *decoder) init() { d.table.limit = tableSize }

// Write takes what hpack.HuffmanDecode has decoded.
func (d *decoder) Write(p []byte) (int, error) {
	d.arena = append(d.arena, p...)
	return len(p), nil
}

// decode decodes block. Every field is counted by m as soon as its size is
// known; from the first that is too many on, nothing is kept any more, only the
// table goes on: over is that fault, of the message. broken is one of the
// connection (RFC 9113 section 4.3).
func (d *decoder) decode(block []byte, m *meter) (fields []headField, over *stream.Fault, bad *failure) {
	d.fields, d.arena = d.fields[:0], d.arena[:0]
	for first := true; len(block) > 0; {
		b := block[0]
		if b&0xe0 == 0x20 { // a table size update, before the first field only
			n, rest, ok := readInt(block, 5)
			if !ok || !first || n > tableSize {
				return nil, nil, errBlock
			}
			d.table.setLimit(n)
			block = rest
			continue
		}
		first = false
		var f headField
		var keep, ok bool
		if f, keep, block, ok = d.field(block, over != nil); !ok {
			return nil, nil, errBlock
		}
		if over == nil {
			over = m.field(f.size())
		}
		if over == nil && keep {
			d.fields = append(d.fields, f)
		}
	}
	if over != nil {
		return nil, over, nil
	}
	d.finish()
	return d.fields, nil, nil
}

var errBlock = broken(codeCompression, "a header block that cannot be decoded")

func (f *headField) size() int {
	if !f.literal {
		return len(f.name) + len(f.value)
	}
	return len(f.name) + f.nameEnd - f.nameAt + f.valueEnd - f.valueAt
}

// field decodes one field. When skip is set only what changes the table is.
func (d *decoder) field(b []byte, skip bool) (f headField, keep bool, rest []byte, ok bool) {
	if b[0]&0x80 != 0 { // indexed, RFC 7541 section 6.1
		i, rest, ok := readInt(b, 7)
		if !ok {
			return f, false, nil, false
		}
		e, ok := d.lookup(i)
		if !ok {
			return f, false, nil, false
		}
		f.entry = *e
		return f, true, rest, true
	}
	bits, index := uint(4), false
	if b[0]&0x40 != 0 { // with incremental indexing, section 6.2.1
		bits, index = 6, true
	}
	i, b, ok := readInt(b, bits)
	if !ok {
		return f, false, nil, false
	}
	mark := len(d.arena)
	if f, b, ok = d.literal(i, b); !ok {
		return f, false, nil, false
	}
	if index {
		d.index(&f)
		d.arena = d.arena[:mark]
	} else if skip {
		d.arena = d.arena[:mark]
	}
	return f, true, b, true
}

// literal decodes name, unless it is entry i, and value into the arena.
func (d *decoder) literal(i int, b []byte) (f headField, rest []byte, ok bool) {
	f.literal = true
	if i > 0 {
		e, ok := d.lookup(i)
		if !ok {
			return f, nil, false
		}
		f.name, f.id, f.pseudo = e.name, e.id, e.pseudo
		f.sound = e.sound || e.pseudo != notPseudo || validName(e.name)
	} else {
		f.nameAt = len(d.arena)
		if b, ok = d.text(b); !ok {
			return f, nil, false
		}
		f.nameEnd = len(d.arena)
	}
	f.valueAt = len(d.arena)
	if b, ok = d.text(b); !ok {
		return f, nil, false
	}
	f.valueEnd = len(d.arena)
	return f, b, true
}

// text decodes a string (section 5.2) into the arena.
func (d *decoder) text(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	huffman := b[0]&0x80 != 0
	n, b, ok := readInt(b, 7)
	if !ok || n > len(b) {
		return nil, false
	}
	if !huffman {
		d.arena = append(d.arena, b[:n]...)
		return b[n:], true
	}
	_, err := hpack.HuffmanDecode(d, b[:n])
	return b[n:], err == nil
}

// index gives f strings of its own, which the table shares.
func (d *decoder) index(f *headField) {
	text := string(d.arena[min(f.valueAt, f.nameStart()):f.valueEnd])
	if f.nameEnd > 0 {
		f.name = text[:f.nameEnd-f.nameAt]
	}
	f.value = text[len(text)-(f.valueEnd-f.valueAt):]
	f.judge()
	f.literal = false
	d.table.add(f.entry)
}

func (f *headField) nameStart() int {
	if f.nameEnd > 0 {
		return f.nameAt
	}
	return f.valueAt
}

func (d *decoder) lookup(i int) (*entry, bool) {
	if i >= 1 && i <= staticSize {
		return &staticTable[i], true
	}
	return d.table.at(i - staticSize)
}

// finish makes the arena one string and cuts the literals out of it.
func (d *decoder) finish() {
	if len(d.arena) == 0 {
		for i := range d.fields { // literals that are empty
			if d.fields[i].literal {
				d.fields[i].judge()
			}
		}
		return
	}
	text := string(d.arena)
	for i := range d.fields {
		f := &d.fields[i]
		if !f.literal {
			continue
		}
		f.value = text[f.valueAt:f.valueEnd]
		if f.nameEnd > f.nameAt {
			f.name = text[f.nameAt:f.nameEnd]
			f.judge()
			continue
		}
		f.sound = f.sound && f.name != "" && validValue(f.value)
	}
}

// release lets the strings of the last message go and keeps the memory, unless
// one message has made it large.
func (d *decoder) release() {
	clear(d.fields)
	if cap(d.arena) > 4<<10 {
		d.arena = nil
	}
	if cap(d.fields) > 64 {
		d.fields = nil
	}
}

// readInt reads an integer with a prefix of that many bits (RFC 7541 section
// 5.1). Four bytes behind the prefix are more than any length or index needs.
func readInt(b []byte, bits uint) (n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	limit := 1<<bits - 1
	n = int(b[0]) & limit
	b = b[1:]
	if n < limit {
		return n, b, true
	}
	for shift := uint(0); shift < 28 && len(b) > 0; shift += 7 {
		c := b[0]
		b = b[1:]
		n += int(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, b, true
		}
	}
	return 0, nil, false
}

// blockBuffer joins the fragments of a header block. A block in one frame, the
// usual case, is decoded where it is.
type blockBuffer struct {
	kept  []byte
	limit int
}

// add returns the whole block when fragment completes it.
func (b *blockBuffer) add(fragment []byte, end bool) (block []byte, done bool, bad *failure) {
	if end && len(b.kept) == 0 {
		return fragment, true, nil
	}
	if len(b.kept)+len(fragment) > b.limit {
		return nil, false, broken(codeEnhanceYourCalm, "a header block is larger than twice the limit of its fields")
	}
	b.kept = append(b.kept, fragment...)
	return b.kept, end, nil
}

// reset lets the block go.
func (b *blockBuffer) reset() { b.kept = nil }
