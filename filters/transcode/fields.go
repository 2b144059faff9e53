package transcode

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxPath bounds the parts of a field path such as a.b.c.
const maxPath = 32

var (
	errFieldUnknown  = errors.New("there is no such field")
	errFieldRepeated = errors.New("the field stands several times")
	errFieldKind     = errors.New("a field of this type cannot stand in a path or query")
	errFieldDeep     = errors.New("the field path is too long")
	errFieldValue    = errors.New("the value does not fit the type of the field")
)

// fieldOf finds a field by its name in the .proto file or in JSON (json_name).
func fieldOf(m protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	fields := m.Fields()
	if f := fields.ByName(protoreflect.Name(name)); f != nil {
		return f
	}
	return fields.ByJSONName(name)
}

// resolve goes along a path of fields. All but the last are messages, one each.
func resolve(m protoreflect.MessageDescriptor, path string) ([]protoreflect.FieldDescriptor, error) {
	if strings.Count(path, ".") >= maxPath {
		return nil, errFieldDeep
	}
	var fields []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if m == nil {
			return nil, errFieldUnknown
		}
		f := fieldOf(m, name)
		if f == nil {
			return nil, errFieldUnknown
		}
		fields = append(fields, f)
		m = f.Message()
		if f.Cardinality() == protoreflect.Repeated {
			m = nil
		}
	}
	last := fields[len(fields)-1]
	if last.IsMap() || last.Message() != nil && !hasText(last.Message()) {
		return nil, errFieldKind
	}
	return fields, nil
}

// variableField resolves the field of a variable of a path template.
func variableField(m protoreflect.MessageDescriptor, path string) ([]protoreflect.FieldDescriptor, error) {
	fields, err := resolve(m, path)
	if err == nil && fields[len(fields)-1].IsList() {
		return nil, errFieldRepeated
	}
	return fields, err
}

// hasText: well-known messages that JSON writes as one scalar.
func hasText(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask":
		return true
	}
	return isWrapper(m)
}

func isWrapper(m protoreflect.MessageDescriptor) bool {
	name := m.FullName()
	return name.Parent() == "google.protobuf" && strings.HasSuffix(string(name), "Value") &&
		name != "google.protobuf.Value" && name != "google.protobuf.ListValue" && name != "google.protobuf.NullValue" &&
		m.Fields().ByNumber(1) != nil && m.Fields().ByNumber(1).Message() == nil
}

// put sets the field at the end of a path, or adds to it, by text.
func put(m protoreflect.Message, path []protoreflect.FieldDescriptor, text string) error {
	for _, f := range path[:len(path)-1] {
		m = m.Mutable(f).Message()
	}
	f := path[len(path)-1]
	if f.IsList() {
		list := m.Mutable(f).List()
		if f.Message() != nil {
			return putText(list.AppendMutable().Message(), text)
		}
		v, err := scalar(f, text)
		if err == nil {
			list.Append(v)
		}
		return err
	}
	if f.Message() != nil {
		return putText(m.Mutable(f).Message(), text)
	}
	v, err := scalar(f, text)
	if err == nil {
		m.Set(f, v)
	}
	return err
}

// putText reads a message that has a text form.
func putText(m protoreflect.Message, text string) error {
	if d := m.Descriptor(); isWrapper(d) {
		f := d.Fields().ByNumber(1)
		v, err := scalar(f, text)
		if err == nil {
			m.Set(f, v)
		}
		return err
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return errFieldValue
	}
	if err := protojson.Unmarshal(quoted, m.Interface()); err != nil {
		return errFieldValue
	}
	return nil
}

func scalar(f protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	v, err := parseScalar(f, text)
	if err != nil {
		return protoreflect.Value{}, fmt.Errorf("%w (%s)", errFieldValue, f.Kind())
	}
	return v, nil
}

func parseScalar(f protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return protoreflect.Value{}, errFieldValue
		}
		return protoreflect.ValueOfBool(text == "true"), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), err
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.FloatKind:
		n, err := parseFloat(text, 32)
		return protoreflect.ValueOfFloat32(float32(n)), err
	case protoreflect.DoubleKind:
		n, err := parseFloat(text, 64)
		return protoreflect.ValueOfFloat64(n), err
	case protoreflect.StringKind:
		if !utf8.ValidString(text) {
			return protoreflect.Value{}, errFieldValue
		}
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BytesKind:
		b, err := decodeBytes(text)
		return protoreflect.ValueOfBytes(b), err
	case protoreflect.EnumKind:
		n, err := enumNumber(f.Enum(), text)
		return protoreflect.ValueOfEnum(n), err
	}
	return protoreflect.Value{}, errFieldKind
}

// parseFloat takes the spellings of JSON and of protojson only: strconv also
// reads hexadecimal numbers, underscores and "inf".
func parseFloat(text string, bits int) (float64, error) {
	switch text {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	if strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, errFieldValue
	}
	return strconv.ParseFloat(text, bits)
}

// decodeBytes takes both alphabets of base64, padded or not.
func decodeBytes(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}

func enumNumber(e protoreflect.EnumDescriptor, text string) (protoreflect.EnumNumber, error) {
	if v := e.Values().ByName(protoreflect.Name(text)); v != nil {
		return v.Number(), nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err == nil && e.IsClosed() && e.Values().ByNumber(protoreflect.EnumNumber(n)) == nil {
		return 0, errFieldValue
	}
	return protoreflect.EnumNumber(n), err
}
