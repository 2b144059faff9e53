package transcode

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A few bytes can stand for a message with many parts: two of protobuf or three
// of JSON are one more element of a list, which takes a hundred times that in
// memory. So what a message will take is estimated before it is made.
const (
	messageCost = 200 // bytes of memory for a message
	valueCost   = 24  // and for a value, beside its text
	// maxCost is how many times max_message a message may take.
	maxCost = 16
	// minCost is never too much, however small max_message is.
	minCost = 64 << 10
)

func (o *options) cost() int { return max(minCost, maxCost*o.maxMessage) }

var (
	errCost  = errors.New("the message has too many parts")
	errDepth = errors.New("the message is nested too deep")
	errWire  = errors.New("the message is malformed")
)

// jsonCost estimates what JSON text becomes. Text that is no JSON has some cost
// too; the decoder refuses it.
func jsonCost(text []byte) int {
	cost, quoted, escaped := len(text), false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{':
			cost += messageCost
		case c == ',', c == '[':
			cost += valueCost
		}
	}
	return cost
}

// meter walks over messages in their encoded form, what stands in a
// google.protobuf.Any included, and copies nothing.
type meter struct {
	types *dynamicpb.Types
	left  int // of the cost
}

func (m *meter) message(d protoreflect.MessageDescriptor, b []byte, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if m.left -= messageCost + len(b); m.left < 0 {
		return errCost
	}
	if d.FullName() == "google.protobuf.Any" {
		return m.any(b, depth)
	}
	fields := d.Fields()
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return errWire
		}
		if err := m.value(fields.ByNumber(number), number, kind, b[:n], depth); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (m *meter) value(f protoreflect.FieldDescriptor, number protowire.Number, kind protowire.Type, b []byte, depth int) error {
	if m.left -= valueCost; m.left < 0 {
		return errCost
	}
	if f == nil {
		return nil
	}
	switch below := f.Message(); {
	case below != nil && kind == protowire.BytesType:
		content, _ := protowire.ConsumeBytes(b)
		return m.message(below, content, depth+1)
	case below != nil && kind == protowire.StartGroupType:
		content, _ := protowire.ConsumeGroup(number, b)
		return m.message(below, content, depth+1)
	case f.IsList() && kind == protowire.BytesType && f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind:
		content, _ := protowire.ConsumeBytes(b) // packed: a value in each byte at most
		m.left -= valueCost * packed(f.Kind(), content)
	}
	if m.left < 0 {
		return errCost
	}
	return nil
}

// packed is how many values stand in a packed field.
func packed(kind protoreflect.Kind, b []byte) int {
	switch kind {
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return len(b) / 8
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return len(b) / 4
	}
	n := 0
	for _, c := range b {
		if c < 0x80 { // the last byte of a varint
			n++
		}
	}
	return n
}

// any walks into the message that an Any holds, if its type is known.
func (m *meter) any(b []byte, depth int) error {
	var url string
	var content []byte
	if !each(b, func(number protowire.Number, value []byte) {
		switch number {
		case 1:
			url = string(value)
		case 2:
			content = value
		}
	}) {
		return errWire
	}
	known, err := m.types.FindMessageByURL(url)
	if err != nil {
		return nil //nolint:nilerr // it is not opened, or whoever opens it says why it cannot be
	}
	return m.message(known.Descriptor(), content, depth+1)
}
