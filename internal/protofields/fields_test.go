package protofields

import (
	"errors"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func collect(message []byte) (list []Field, err error) {
	err = Each(message, func(f Field) error {
		list = append(list, f)
		return nil
	})
	return list, err
}

func same(a, b Field) bool {
	return a.Number == b.Number && a.Kind == b.Kind && a.Value == b.Value && string(a.Content) == string(b.Content)
}

func TestEach(t *testing.T) {
	message := AppendBytes(AppendVarint(nil, 1, 300), 2, "text")
	message = protowire.AppendFixed64(protowire.AppendTag(message, 1<<29-1, protowire.Fixed64Type), math.Float64bits(0.5))
	message = protowire.AppendFixed32(protowire.AppendTag(message, 4, protowire.Fixed32Type), 7)
	got, err := collect(message)
	want := []Field{{1, Varint, 300, nil}, {2, Bytes, 0, []byte("text")}, {1<<29 - 1, Fixed64, math.Float64bits(0.5), nil}, {4, Fixed32, 7, nil}}
	if err != nil || !slices.EqualFunc(got, want, same) || got[2].Double() != 0.5 {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	enough := errors.New("enough")
	if err := Each(message, func(Field) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want the error of the visitor", err)
	}
}

func TestMalformed(t *testing.T) {
	for name, message := range map[string]string{
		"number 0":             "\x00\x01",
		"number out of range":  "\x80\x80\x80\x80\x10\x01",
		"tag cut off":          "\x80",
		"varint cut off":       "\x08\x80",
		"varint of 11 bytes":   "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"double cut off":       "\x09\x00\x00\x00",
		"float cut off":        "\x0d\x00",
		"text longer than all": "\x0a\x05abcd",
		"text without end":     "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"group":                "\x0b\x0c",
		"end of a group":       "\x0c",
	} {
		if got, err := collect([]byte(message)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzEach holds it to the library: what is read is the same, and only groups
// are refused that the library takes.
func FuzzEach(f *testing.F) {
	for _, seed := range []string{"", "\x08\x96\x01", "\x12\x07testing", "\x09\x00\x00\x00\x00\x00\x00\xe0\x3f", "\x0d\x01\x02\x03\x04", "\x0b\x0c", "7", "\x0a\xff\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := collect(message)
		var want []Field
		for rest := message; len(rest) > 0; {
			number, kind, n := protowire.ConsumeTag(rest)
			if n < 0 || number > protowire.MaxValidNumber || kind == protowire.StartGroupType || kind == protowire.EndGroupType {
				if err == nil {
					t.Fatalf("%x: %+v, and the library refuses it", message, got)
				}
				return
			}
			value := Field{Number: uint64(number), Kind: Kind(kind)}
			rest = rest[n:]
			switch kind {
			case protowire.VarintType:
				value.Value, n = protowire.ConsumeVarint(rest)
			case protowire.Fixed64Type:
				value.Value, n = protowire.ConsumeFixed64(rest)
			case protowire.Fixed32Type:
				var v uint32
				v, n = protowire.ConsumeFixed32(rest)
				value.Value = uint64(v)
			case protowire.BytesType:
				value.Content, n = protowire.ConsumeBytes(rest)
			default:
				n = -1
			}
			if n < 0 {
				if err == nil {
					t.Fatalf("%x: %+v, and the library refuses it", message, got)
				}
				return
			}
			rest, want = rest[n:], append(want, value)
		}
		if err != nil || !slices.EqualFunc(got, want, same) {
			t.Errorf("%x: %+v, %v; the library reads %+v", message, got, err, want)
		}
	})
}
