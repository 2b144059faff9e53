package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Defaulter is a type whose values start from defaults. The decoder calls
// SetDefaults before it reads what was written, so an explicit 0 or false
// stays one. It sets the fields of the type itself; fields that are Defaulters
// are called by themselves.
type Defaulter interface{ SetDefaults() }

// textForm is a type that may also be written as one text.
type textForm interface{ fromText(text string) }

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
		return d.fail(t, "write its fields as key: value", "%s is a mapping, and %s stands here", key, noun)
	}
	ok := d.unrepeated(t)
	for i := range t.entries {
		e := &t.entries[i]
		at := slices.IndexFunc(fields, func(f fieldInfo) bool { return f.key == e.key })
		if at < 0 {
			ok = d.unknown(e, key, fields)
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

func (d *decoder) unknown(e *entry, key string, fields []fieldInfo) bool {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.key
	}
	fix := Suggest(e.key, names)
	if fix == "" {
		slices.Sort(names)
		fix = "known are " + strings.Join(names, ", ")
	}
	d.report(e.line, e.col, fmt.Sprintf("%s has no field %s", key, quote(e.key)), fix)
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

// filter reads "- name: {settings}" and "- name".
func (d *decoder) filter(t *tree, f *Filter) bool {
	if t.kind == scalar && !t.null() && t.text != "" {
		*f = Filter{Name: t.text, Settings: Node{&tree{kind: mapping, line: t.line, col: t.col, size: 1}, d.file}}
		return true
	}
	const fix = "write \"- name: {settings}\" or \"- name\", and indent the settings below the name"
	if t.kind != mapping {
		return d.fail(t, fix, "a filter is a name with its settings, and %s stands here", t.noun())
	}
	if len(t.entries) != 1 {
		names := make([]string, len(t.entries))
		for i := range t.entries {
			names[i] = t.entries[i].key
		}
		return d.fail(t, fix, "a filter has one name, and %d stand here: %s", len(names), quote(strings.Join(names, ", ")))
	}
	e := &t.entries[0]
	settings := e.value
	if settings.null() {
		settings = &tree{kind: mapping, line: e.line, col: e.col, size: 1}
	}
	*f = Filter{Name: e.key, Settings: Node{settings, d.file}}
	return true
}

// holdsSecret tells whether a value of the type has a secret in it.
func holdsSecret(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return holdsSecret(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[Secret]() {
			return true
		}
		for _, f := range fieldsOf(t) {
			if holdsSecret(t.Field(f.index).Type) {
				return true
			}
		}
	}
	return false
}

// secret never repeats what stands there: it may be the secret itself.
func (d *decoder) secret(t *tree, s *Secret, key string) bool {
	const fix = "refer to it: {file: PATH} or {env: NAME}"
	if t.null() {
		return d.fail(t, fix, "%s has no value", key)
	}
	if t.kind == scalar {
		return d.fail(t, fix, "%s must not stand in the document itself", key)
	}
	for i := range t.entries {
		if e := &t.entries[i]; e.key != "file" && e.key != "env" {
			d.report(e.line, e.col, key+" has a field that is neither file nor env", fix)
			return false
		}
	}
	if !d.structure(t, reflect.ValueOf(s).Elem(), key) {
		return false
	}
	if (s.File == "") == (s.Env == "") {
		return d.fail(t, fix, "%s needs exactly one of file and env", key)
	}
	if strings.ContainsAny(s.File+s.Env, "\n\r\x00") {
		*s = Secret{}
		return d.fail(t, fix, "%s must not stand in the document itself", key)
	}
	return true
}

// text reads types that know their own text: Duration, Size, Rate, those of
// filters.
func (d *decoder) text(t *tree, v reflect.Value, target encoding.TextUnmarshaler, key string, r rule) bool {
	if t.kind != scalar {
		return d.fail(t, "", "%s is one value, and %s stands here", key, t.noun())
	}
	err := target.UnmarshalText([]byte(t.text))
	if own, ok := err.(*textError); ok {
		return d.fail(t, own.fix, "%s: %s", key, own.what)
	}
	if err != nil {
		return d.fail(t, "", "%s: %s: %v", key, quote(t.text), err)
	}
	return d.bounded(t, v, key, r)
}

func (d *decoder) scalar(t *tree, v reflect.Value, key string, r rule) bool {
	if t.kind != scalar {
		return d.fail(t, "", "%s is one value, and %s stands here", key, t.noun())
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(t.text)
	case reflect.Bool:
		if !t.plain || t.text != "true" && t.text != "false" {
			return d.fail(t, "write true or false", "%s: %s is not true or false", key, quote(t.text))
		}
		v.SetBool(t.text == "true")
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		n, err := strconv.ParseInt(t.text, 10, v.Type().Bits())
		if err != nil || !t.plain {
			return d.fail(t, "write digits only, without quotes", "%s: %s is not a whole number", key, quote(t.text))
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		n, err := strconv.ParseUint(t.text, 10, v.Type().Bits())
		if err != nil || !t.plain {
			return d.fail(t, "write digits only, without quotes", "%s: %s is not a whole number", key, quote(t.text))
		}
		v.SetUint(n)
	case reflect.Float64, reflect.Float32:
		n, err := strconv.ParseFloat(t.text, 64)
		if err != nil || !t.plain || math.IsNaN(n) || math.IsInf(n, 0) {
			return d.fail(t, "write a number such as 0.2", "%s: %s is not a number", key, quote(t.text))
		}
		v.SetFloat(n)
	default:
		panic("config: a document cannot hold a " + v.Type().String())
	}
	return d.bounded(t, v, key, r)
}

// bounded applies the enum, min, max and format tags.
func (d *decoder) bounded(t *tree, v reflect.Value, key string, r rule) bool {
	if r.enum != nil && !slices.Contains(r.enum, t.text) {
		fix := Suggest(t.text, r.enum)
		if fix == "" || isJSONNumber(t.text) {
			fix = "write one of " + strings.TrimPrefix(strings.Join(r.enum, ", "), ", ")
		}
		return d.fail(t, fix, "%s: %s is not known", key, quote(t.text))
	}
	if r.format == "name" && !isName(t.text) {
		return d.fail(t, "use letters, digits and . _ - /, at most 253, the first a letter or a digit",
			"%s: %s cannot be a name", key, quote(t.text))
	}
	var n float64
	switch {
	case v.CanInt():
		n = float64(v.Int())
	case v.CanFloat():
		n = v.Float()
	default:
		return true
	}
	least, most := r.limits()
	if n < least {
		return d.fail(t, "", "%s: %s is less than %v", key, t.text, least)
	}
	if n > most {
		return d.fail(t, "", "%s: %s is more than %v", key, t.text, most)
	}
	return true
}

// limits of a number; without a tag it must not be negative.
func (r rule) limits() (least, most float64) {
	least, _ = strconv.ParseFloat(r.min, 64)
	most, err := strconv.ParseFloat(r.max, 64)
	if err != nil {
		most = math.MaxFloat64
	}
	return least, most
}

// isName tells what may name an object: it stands in logs, metrics, paths of
// the admin pages and on command lines.
func isName(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || strings.IndexByte("._-/", c) < 0) {
			return false
		}
	}
	return text != "" && len(text) <= 253
}
