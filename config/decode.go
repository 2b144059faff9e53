package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Defaulter is a type whose values start from defaults. The decoder calls
// SetDefaults before it reads what was written, so an explicit 0 or false
// stays one. It sets the fields of the type itself; fields that are Defaulters
// are called by themselves.
type Defaulter interface{ SetDefaults() }

// textForm is a type that may also be written as one text.
type textForm interface{ fromText(text string) }

// advisor is a type that knows what to write in the place of what it does not
// take: of a field, or of a value that is no mapping (""). "" is no advice.
type advisor interface{ Advice(field string) string }

func advice(v reflect.Value, field, otherwise string) string {
	if a, ok := v.Addr().Interface().(advisor); ok {
		if better := a.Advice(field); better != "" {
			return better
		}
	}
	return otherwise
}

// decoder reads trees into Go values. It goes on after an error.
type decoder struct {
	file   string // for the nodes that stay undecoded
	report complain
	infos  map[reflect.Type][]fieldInfo
}

func newDecoder(file string, report complain) *decoder {
	return &decoder{file: file, report: report, infos: map[reflect.Type][]fieldInfo{}}
}

// fieldInfo is what the tags of a field say.
type fieldInfo struct {
	index    int
	key      string
	required bool
	rule     rule
}

// rule bounds the values of a field.
type rule struct {
	enum     []string // nil: anything
	min, max string   // as in the tags; min "" means 0
	format   string   // "name" or ""
}

// fieldsOf lists the fields that a document may set. Tags: yaml names the key,
// required, enum, min, max and format bound the value.
func fieldsOf(t reflect.Type) []fieldInfo {
	var fields []fieldInfo
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || key == "" || key == "-" {
			continue
		}
		info := fieldInfo{index: i, key: key, required: f.Tag.Get("required") == "true"}
		if enum, ok := f.Tag.Lookup("enum"); ok {
			info.rule.enum = strings.Split(enum, ",")
		}
		info.rule.min, info.rule.max, info.rule.format = f.Tag.Get("min"), f.Tag.Get("max"), f.Tag.Get("format")
		fields = append(fields, info)
	}
	return fields
}

func (d *decoder) fields(t reflect.Type) []fieldInfo {
	fields, ok := d.infos[t]
	if !ok {
		fields = fieldsOf(t)
		d.infos[t] = fields
	}
	return fields
}

// fail reports and returns false.
func (d *decoder) fail(t *tree, fix, format string, args ...any) bool {
	d.report(t.line, t.col, fmt.Sprintf(format, args...), fix)
	return false
}

// setDefaults fills a fresh value, and the structs in it.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			setDefaults(v.Field(i))
		}
	}
	if d, ok := v.Addr().Interface().(Defaulter); ok {
		d.SetDefaults()
	}
}

// decode reads t into v, which holds the default. key is the name of the field
// for messages.
func (d *decoder) decode(t *tree, v reflect.Value, key string, r rule) bool {
	switch target := v.Addr().Interface().(type) {
	case *Node:
		*target = Node{t, d.file}
		return true
	case *Secret:
		return d.secret(t, target, key)
	case *Filter:
		return d.filter(t, target)
	}
	if t.null() {
		return d.fail(t, "write a value or remove the line", "%s has no value", key)
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		setDefaults(fresh.Elem())
		ok := d.decode(t, fresh.Elem(), key, r)
		v.Set(fresh)
		return ok
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return d.text(t, v, text, key, r)
	}
	if form, ok := v.Addr().Interface().(textForm); ok && t.kind == scalar {
		form.fromText(t.text)
		return true
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(t, v, key)
	case reflect.Slice:
		return d.slice(t, v, key, r)
	case reflect.Map:
		return d.dictionary(t, v, key, r)
	}
	return d.scalar(t, v, key, r)
}

func (d *decoder) structure(t *tree, v reflect.Value, key string) bool {
	fields := d.fields(v.Type())
	if t.kind != mapping {
		noun := t.noun()
		if t.kind == scalar && holdsSecret(v.Type()) {
			noun = "a text" // it may be the secret
		}
		return d.fail(t, advice(v, "", "write its fields as key: value"), "%s is a mapping, and %s stands here", key, noun)
	}
	ok := d.unrepeated(t)
	for i := range t.entries {
		e := &t.entries[i]
		at := slices.IndexFunc(fields, func(f fieldInfo) bool { return f.key == e.key })
		if at < 0 {
			ok = d.unknown(e, v, key, fields)
			continue
		}
		f := fields[at]
		if e.value.null() && v.Field(f.index).Type() != reflect.TypeFor[Node]() {
			d.report(e.line, e.col, f.key+" has no value", "write a value or remove the line")
			ok = false
			continue
		}
		if !d.decode(e.value, v.Field(f.index), f.key, f.rule) {
			ok = false
		}
	}
	return d.required(t, v, key, fields) && ok
}

// unrepeated refuses keys that stand twice in one mapping.
func (d *decoder) unrepeated(t *tree) bool {
	first, ok := make(map[string]int32, len(t.entries)), true
	for i := range t.entries {
		e := &t.entries[i]
		if line, again := first[e.key]; again {
			d.report(e.line, e.col, fmt.Sprintf("%s stands here a second time, first at line %d", quote(e.key), line), "remove one")
			ok = false
			continue
		}
		first[e.key] = e.line
	}
	return ok
}

func (d *decoder) unknown(e *entry, v reflect.Value, key string, fields []fieldInfo) bool {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	fix := Suggest(e.key, names)
	if fix == "" {
		slices.Sort(names)
		fix = "known are " + strings.Join(names, ", ")
	}
	d.report(e.line, e.col, fmt.Sprintf("%s has no field %s", key, quote(e.key)), advice(v, e.key, fix))
	return false
}

func (d *decoder) required(t *tree, v reflect.Value, key string, fields []fieldInfo) bool {
	ok := true
	for _, f := range fields {
		if !f.required {
			continue
		}
		written := t.find(f.key)
		if written == nil {
			ok = d.fail(t, "add it", "%s has no %s, which it needs", key, f.key)
			continue
		}
		empty := written.kind == scalar && !written.null() && written.text == "" || written.kind == list && len(written.items) == 0
		if empty {
			ok = d.fail(written, "write a value", "%s is empty", f.key)
		}
	}
	return ok
}

func (d *decoder) slice(t *tree, v reflect.Value, key string, r rule) bool {
	if t.kind != list {
		noun := t.noun()
		if t.kind == scalar && holdsSecret(v.Type()) {
			noun = "a text"
		}
		return d.fail(t, "write it as [a, b], or each on a line that begins with \"- \"",
			"%s is a list, and %s stands here", key, noun)
	}
	items, ok := reflect.MakeSlice(v.Type(), len(t.items), len(t.items)), true
	for i, item := range t.items {
		setDefaults(items.Index(i))
		if !d.decode(item, items.Index(i), fmt.Sprintf("%s[%d]", key, i), r) {
			ok = false
		}
	}
	v.Set(items)
	return ok
}

func (d *decoder) dictionary(t *tree, v reflect.Value, key string, r rule) bool {
	if t.kind != mapping || v.Type().Key().Kind() != reflect.String {
		return d.fail(t, "write it as key: value", "%s is a mapping, and %s stands here", key, t.noun())
	}
	values, ok := reflect.MakeMapWithSize(v.Type(), len(t.entries)), d.unrepeated(t)
	for i := range t.entries {
		e := &t.entries[i]
		value := reflect.New(v.Type().Elem()).Elem()
		setDefaults(value)
		if !d.decode(e.value, value, key+"."+e.key, r) {
			ok = false
		}
		values.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), value)
	}
	v.Set(values)
	return ok
}
