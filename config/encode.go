package config

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// encode is the reverse of decode: the tree that a value would be written as.
// Every field is there, zeros included, but for what is absent: nil pointers,
// and fields marked omitempty (in the json tag) that are empty.
func encode(v reflect.Value) *tree {
	t := &tree{size: 1}
	switch own := v.Interface().(type) {
	case Node:
		return own.content()
	case Filter:
		t.kind, t.entries = mapping, []entry{{key: own.Name, value: own.Settings.content()}}
		return t
	case encoding.TextMarshaler:
		text, err := own.MarshalText()
		if err != nil {
			text = nil
		}
		t.text = string(text)
		t.plain = t.text != "" && isJSONNumber(t.text)
		return t
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return &tree{size: 1, kind: mapping}
		}
		return encode(v.Elem())
	case reflect.Struct:
		t.kind = mapping
		for _, f := range fieldsOf(v.Type()) {
			field := v.Field(f.index)
			if !absent(field, v.Type().Field(f.index).Tag) {
				t.entries = append(t.entries, entry{key: f.key, value: encode(field)})
			}
		}
	case reflect.Slice:
		t.kind = list
		for i := range v.Len() {
			t.items = append(t.items, encode(v.Index(i)))
		}
	case reflect.Map:
		t.kind = mapping
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
		for _, key := range keys {
			t.entries = append(t.entries, entry{key: key.String(), value: encode(v.MapIndex(key))})
		}
	case reflect.String:
		t.text = v.String()
	case reflect.Float64, reflect.Float32:
		t.plain, t.text = true, strconv.FormatFloat(v.Float(), 'f', -1, 64)
	default:
		t.plain, t.text = true, fmt.Sprint(v.Interface())
	}
	return t
}

// CanonicalJSON is a document, an object or a part of one as JSON with sorted
// keys, every default written out: equal meanings give equal bytes, and Parse
// reads it back.
func CanonicalJSON(v any) ([]byte, error) { return appendJSON(nil, encode(reflect.ValueOf(v)), true) }

func absent(v reflect.Value, tag reflect.StructTag) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.Slice, reflect.Map:
		return bytes.Contains([]byte(tag.Get("json")), []byte(",omitempty")) && v.Len() == 0
	}
	return bytes.Contains([]byte(tag.Get("json")), []byte(",omitempty")) && v.IsZero()
}
