package stream

// Field is one header or trailer field. Name keeps the spelling of the peer;
// comparison is always case-insensitive (RFC 9110 section 5.1). Name and Value
// are substrings of the one string that holds the message head.
type Field struct {
	Name  string
	Value string
	ID    ID // Unknown for a name that is not in the table of well-known names
}

// Header is an ordered list of fields. Repeated fields stay apart and in
// order. The zero value is an empty header. A Header is not safe for
// concurrent use.
//
// Framing and hop-by-hop fields (Content-Length, Transfer-Encoding,
// Connection and what it names, Keep-Alive, Upgrade, TE, ...) never stand in
// the Header of a Request or Response: the codec turns them into typed facts
// (Length, Upgrade, ...) on the way in and writes its own on the way out.
type Header struct {
	fields []Field
}

// Len is the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Fields is the list itself, in order: to read, not to keep and not to change.
func (h *Header) Fields() []Field { return h.fields }

// Reset empties the header and keeps its memory.
func (h *Header) Reset() {
	clear(h.fields) // let the head string of the last message go
	h.fields = h.fields[:0]
}

// Grow makes room for n more fields.
func (h *Header) Grow(n int) {
	if cap(h.fields)-len(h.fields) >= n {
		return
	}
	grown := make([]Field, len(h.fields), len(h.fields)+n)
	copy(grown, h.fields)
	h.fields = grown
}

// Append adds a field whose ID the caller has looked up already. Codecs use it.
func (h *Header) Append(f Field) { h.fields = append(h.fields, f) }

// Add adds a field behind those already there.
func (h *Header) Add(name, value string) {
	h.fields = append(h.fields, Field{Name: name, Value: value, ID: Lookup(name)})
}

// AddID adds a well-known field in its canonical spelling.
func (h *Header) AddID(id ID, value string) {
	h.fields = append(h.fields, Field{Name: id.String(), Value: value, ID: id})
}

// Get is the value of the first field of that name.
func (h *Header) Get(name string) (value string, ok bool) {
	if id := Lookup(name); id != Unknown {
		return h.GetID(id)
	}
	for i := range h.fields {
		if h.fields[i].ID == Unknown && EqualFold(h.fields[i].Name, name) {
			return h.fields[i].Value, true
		}
	}
	return "", false
}

// GetID is the value of the first field with that id.
func (h *Header) GetID(id ID) (value string, ok bool) {
	for i := range h.fields {
		if h.fields[i].ID == id {
			return h.fields[i].Value, true
		}
	}
	return "", false
}

// Values appends the values of every field of that name to dst, in order.
func (h *Header) Values(dst []string, name string) []string {
	id := Lookup(name)
	for i := range h.fields {
		if h.fields[i].is(id, name) {
			dst = append(dst, h.fields[i].Value)
		}
	}
	return dst
}

// Count is the number of fields of that name.
func (h *Header) Count(name string) int {
	id, n := Lookup(name), 0
	for i := range h.fields {
		if h.fields[i].is(id, name) {
			n++
		}
	}
	return n
}

// Set leaves exactly one field of that name, in the place of the first.
func (h *Header) Set(name, value string) {
	id, kept, found := Lookup(name), h.fields[:0], false
	for _, f := range h.fields {
		if f.is(id, name) {
			if found {
				continue
			}
			f.Value, found = value, true
		}
		kept = append(kept, f)
	}
	h.truncate(kept)
	if !found {
		h.fields = append(h.fields, Field{Name: name, Value: value, ID: id})
	}
}

// SetID is Set for a well-known name.
func (h *Header) SetID(id ID, value string) {
	for i := range h.fields {
		if h.fields[i].ID == id {
			h.fields[i].Value = value
			h.delAfter(i+1, id)
			return
		}
	}
	h.AddID(id, value)
}

// Del removes every field of that name and returns how many there were.
func (h *Header) Del(name string) int {
	id := Lookup(name)
	if id != Unknown {
		return h.DelID(id)
	}
	return h.DelFunc(func(f *Field) bool { return f.is(id, name) })
}

// DelID removes every field with that id and returns how many there were.
func (h *Header) DelID(id ID) int { return h.delAfter(0, id) }

// DelFunc removes the fields for which drop is true and returns how many.
func (h *Header) DelFunc(drop func(*Field) bool) int {
	kept := h.fields[:0]
	for i := range h.fields {
		if !drop(&h.fields[i]) {
			kept = append(kept, h.fields[i])
		}
	}
	return h.truncate(kept)
}

// Clone is an independent copy.
func (h *Header) Clone() Header {
	return Header{fields: append([]Field(nil), h.fields...)}
}

func (h *Header) delAfter(start int, id ID) int {
	i := start
	for i < len(h.fields) && h.fields[i].ID != id {
		i++
	}
	if i == len(h.fields) { // the usual case: nothing moves
		return 0
	}
	kept := h.fields[:i]
	for _, f := range h.fields[i:] {
		if f.ID != id {
			kept = append(kept, f)
		}
	}
	return h.truncate(kept)
}

// truncate ends the list after kept, which shares its memory, and clears the rest.
func (h *Header) truncate(kept []Field) int {
	removed := len(h.fields) - len(kept)
	clear(h.fields[len(kept):])
	h.fields = kept
	return removed
}

func (f *Field) is(id ID, name string) bool {
	if id != Unknown {
		return f.ID == id
	}
	return f.ID == Unknown && EqualFold(f.Name, name)
}

// EqualFold compares two names byte for byte, ASCII letters without case.
// Unicode folding would let "K" (Kelvin sign) equal "k".
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
