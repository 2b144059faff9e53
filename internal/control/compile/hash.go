package compile

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// hashOf is over the content of a compiled object: every field, unexported ones
// of filter settings included, secrets by their content. Where something stood
// in a file is left out. Equal content gives equal hashes in every process of
// the same version.
func hashOf(v any) snapshot.Hash {
	h := hasher{to: sha256.New()}
	h.value(reflect.ValueOf(v), 0)
	var sum snapshot.Hash
	h.to.Sum(sum[:0])
	return sum
}

// hasher writes values so that different values write different bytes: each
// with its kind, everything of variable size with its length.
type hasher struct {
	to  hash.Hash
	buf [9]byte
}

// maxHashDepth is deeper than any settings; beyond it, a value that contains
// itself would never end.
const maxHashDepth = 100

func (h *hasher) number(kind reflect.Kind, n uint64) {
	h.buf[0] = byte(kind)
	binary.BigEndian.PutUint64(h.buf[1:], n)
	h.to.Write(h.buf[:])
}

func (h *hasher) text(s string) {
	h.number(reflect.String, uint64(len(s)))
	h.to.Write([]byte(s))
}

func (h *hasher) value(v reflect.Value, depth int) {
	if depth > maxHashDepth {
		panic(fmt.Sprintf("compile: settings nest deeper than %d values: %s contains itself", maxHashDepth, v.Type()))
	}
	if !v.IsValid() {
		h.number(reflect.Invalid, 0)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		h.number(reflect.Bool, n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		h.number(reflect.Int64, uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		h.number(reflect.Uint64, v.Uint())
	case reflect.Float32, reflect.Float64:
		h.number(reflect.Float64, math.Float64bits(v.Float()))
	case reflect.String:
		h.text(v.String())
	case reflect.Pointer, reflect.Interface:
		h.indirect(v, depth)
	case reflect.Struct:
		h.structure(v, depth)
	case reflect.Slice, reflect.Array:
		h.list(v, depth)
	case reflect.Map:
		h.mapping(v, depth)
	default: // functions and channels have no content
		h.number(v.Kind(), 0)
	}
}

// indirect does not tell a pointer from what it points to, but nil from zero.
func (h *hasher) indirect(v reflect.Value, depth int) {
	if v.IsNil() {
		h.number(reflect.Invalid, 0)
		return
	}
	if v.Kind() == reflect.Interface {
		h.text(v.Elem().Type().String())
	}
	h.value(v.Elem(), depth+1)
}

func (h *hasher) structure(v reflect.Value, depth int) {
	switch t := v.Type(); t {
	case reflect.TypeFor[config.Origin](), reflect.TypeFor[config.Pos](), reflect.TypeFor[config.Node]():
		return // places, and text of which the decoded settings stand elsewhere
	case reflect.TypeFor[regexp.Regexp]():
		h.text(v.FieldByName("expr").String())
	case reflect.TypeFor[snapshot.Material]():
		if v.CanInterface() {
			h.text(string(v.Interface().(snapshot.Material).Reveal()))
		}
	default:
		h.text(t.String())
		for i := range t.NumField() {
			h.text(t.Field(i).Name)
			h.value(v.Field(i), depth+1)
		}
	}
}

func (h *hasher) list(v reflect.Value, depth int) {
	if v.Type().Elem().Kind() == reflect.Uint8 && (v.Kind() == reflect.Slice || v.CanAddr()) {
		h.text(string(v.Bytes()))
		return
	}
	h.number(reflect.Slice, uint64(v.Len()))
	for i := range v.Len() {
		h.value(v.Index(i), depth+1)
	}
}

// mapping goes over the keys in the order of their text.
func (h *hasher) mapping(v reflect.Value, depth int) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	h.number(reflect.Map, uint64(len(keys)))
	for _, key := range keys {
		h.value(key, depth+1)
		h.value(v.MapIndex(key), depth+1)
	}
}
