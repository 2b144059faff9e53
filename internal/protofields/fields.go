// Package protofields reads and writes the fields of a message of protocol
// buffers by hand, where a message has few and the generated code would bring
// megabytes.
package protofields

import (
	"encoding/binary"
	"errors"
	"math"
)

// Kind is how a field is written (the "wire type").
type Kind uint8

// The kinds; groups, which nothing uses any more, are refused.
const (
	Varint  Kind = 0
	Fixed64 Kind = 1
	Bytes   Kind = 2
	Fixed32 Kind = 5
)

// Field is one field of a message. A reader passes over a field that comes with
// another kind than it has, as the generated code does.
type Field struct {
	Number  uint64
	Kind    Kind
	Value   uint64 // of Varint, Fixed64 and Fixed32
	Content []byte // of Bytes: a text or a message, a part of the message that was read
}

// Double is the number of a field of kind Fixed64.
func (f Field) Double() float64 { return math.Float64frombits(f.Value) }

// ErrMalformed is a message that is none.
var ErrMalformed = errors.New("not a message of protocol buffers")

// maxNumber is one more than the highest number that a field can have.
const maxNumber = 1 << 29

// Each calls visit for each field of a message, in order, until it fails. Memory
// is not taken, whatever the message says.
func Each(message []byte, visit func(Field) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 || tag>>3 >= maxNumber {
			return ErrMalformed
		}
		f := Field{Number: tag >> 3, Kind: Kind(tag & 7)}
		message = message[n:]
		if n = f.read(message); n < 0 {
			return ErrMalformed
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// read takes the value of a field and returns its length; -1: it is cut off, or of
// no known kind.
func (f *Field) read(b []byte) (n int) {
	switch f.Kind {
	case Varint:
		if f.Value, n = binary.Uvarint(b); n > 0 {
			return n
		}
	case Fixed64:
		if len(b) >= 8 {
			f.Value = binary.LittleEndian.Uint64(b)
			return 8
		}
	case Fixed32:
		if len(b) >= 4 {
			f.Value = uint64(binary.LittleEndian.Uint32(b))
			return 4
		}
	case Bytes:
		length, head := binary.Uvarint(b)
		if head > 0 && length <= uint64(len(b)-head) {
			n = head + int(length) //nolint:gosec // within b
			f.Content = b[head:n]
			return n
		}
	}
	return -1
}

// AppendVarint appends a field of kind Varint.
func AppendVarint(dst []byte, number, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, number<<3|uint64(Varint)), value)
}

// AppendBytes appends a field of kind Bytes.
func AppendBytes[T string | []byte](dst []byte, number uint64, content T) []byte {
	dst = binary.AppendUvarint(dst, number<<3|uint64(Bytes))
	dst = binary.AppendUvarint(dst, uint64(len(content)))
	return append(dst, content...)
}
