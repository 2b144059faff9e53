package config

import (
	_ "embed"
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
)

// Version is the version of the document's form. A change that refuses what the
// form took before makes it grow.
const Version = 2

// Comments are the comments of types and fields, by "config.Listener" and
// "config.Listener.Address"; those of filters by "filters/headers.Settings".
type Comments map[string]string

//go:embed comments_gen.json
var embeddedComments []byte

// EmbeddedComments are those of the sources that this binary was made of, as
// tools/reference found them.
func EmbeddedComments() Comments {
	var comments Comments
	if err := json.Unmarshal(embeddedComments, &comments); err != nil {
		panic("config: comments_gen.json: " + err.Error())
	}
	return comments
}

// Shape describes one kind of mapping in a document: the document itself, a
// listener, the settings of a filter. The schema and the reference are made
// from shapes.
type Shape struct {
	Name    string // "Listener", "headers.Settings"
	Filter  string // the name of the filter whose settings it is, or ""
	Comment string
	Text    bool // it may also be written as one text: its first field
	Fields  []ShapeField
}

// ShapeField is one key of a mapping.
type ShapeField struct {
	Key      string
	Comment  string
	Required bool
	Default  string // as JSON; "" when there is none to speak of
	Type     Type
}

// Type says what may stand somewhere.
type Type struct {
	Kind     Kind
	Of       *Type    // of a list or map
	Shape    string   // of an object
	Enum     []string // nil: anything
	Min, Max string   // of numbers
	Name     bool     // a text that names an object
	Alone    bool     // a list whose one member may stand without it
}

// Kind is the kind of a value.
type Kind string

// The kinds.
const (
	KindText     Kind = "text"
	KindBool     Kind = "true or false"
	KindInteger  Kind = "whole number"
	KindNumber   Kind = "number"
	KindDuration Kind = "duration"
	KindSize     Kind = "size"
	KindRate     Kind = "rate"
	KindSecret   Kind = "secret"
	KindFilter   Kind = "filter"
	KindObject   Kind = "object"
	KindList     Kind = "list"
	KindMap      Kind = "map"
	KindAny      Kind = "anything"
)

// Describe lists the shapes of a document, the document first and each one
// before its parts, then those of the filters by name. filters are
// pointers to the settings of each filter, holding its defaults.
func Describe(filters map[string]any, comments Comments) []Shape {
	d := describer{comments: comments, known: map[reflect.Type]string{}, defaults: map[reflect.Type]reflect.Value{}}
	d.name(reflect.TypeFor[Document]())
	d.describeNamed("")
	names := make([]string, 0, len(filters))
	for name := range filters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		settings := reflect.ValueOf(filters[name]).Elem()
		d.defaults[settings.Type()] = settings
		d.name(settings.Type())
		d.describeNamed(name)
	}
	return d.shapes
}

type describer struct {
	comments Comments
	known    map[reflect.Type]string
	defaults map[reflect.Type]reflect.Value // where SetDefaults does not say it
	queue    []reflect.Type
	shapes   []Shape
}

// name is the name of a shape; the first time, the shape is queued.
func (d *describer) name(t reflect.Type) string {
	name, ok := d.known[t]
	if !ok {
		name = t.Name()
		if pkg := path.Base(t.PkgPath()); t.PkgPath() != reflect.TypeFor[Document]().PkgPath() {
			name = pkg + "." + name
		}
		d.known[t] = name
		d.queue = append(d.queue, t)
	}
	return name
}

// describeNamed describes what was named since the last time, each shape
// before the ones it is made of. The first is the settings of filter.
func (d *describer) describeNamed(filter string) {
	named := d.queue
	d.queue = nil
	for _, t := range named {
		s := d.shape(t)
		s.Filter, filter = filter, ""
		d.shapes = append(d.shapes, s)
		d.describeNamed("")
	}
}

func (d *describer) shape(t reflect.Type) Shape {
	_, text := reflect.New(t).Interface().(textForm)
	s := Shape{Name: d.known[t], Comment: d.comment(t, ""), Text: text}
	defaults, given := d.defaults[t]
	if !given {
		defaults = reflect.New(t).Elem()
		setDefaults(defaults)
	}
	for _, f := range fieldsOf(t) {
		field := t.Field(f.index)
		s.Fields = append(s.Fields, ShapeField{
			Key: f.key, Comment: d.comment(t, field.Name), Required: f.required,
			Default: defaultText(defaults.Field(f.index), field.Tag, f.required),
			Type:    d.typeOf(field.Type, f.rule),
		})
	}
	return s
}

// comment of a type or of a field of it, on one line. A document does not
// know the names of Go: "Idle is the longest wait" becomes "the longest wait".
func (d *describer) comment(t reflect.Type, field string) string {
	module := strings.TrimSuffix(reflect.TypeFor[Document]().PkgPath(), "config")
	key := strings.TrimPrefix(t.PkgPath(), module) + "." + t.Name()
	if field != "" {
		key += "." + field
	}
	text := strings.Join(strings.Fields(d.comments[key]), " ")
	rest, named := strings.CutPrefix(text, field+" ")
	verb, object, _ := strings.Cut(rest, " ")
	switch {
	case field == "" || !named:
		return text
	case verb == "is" || verb == "are":
		return object
	case strings.HasSuffix(verb, "s"): // "RFC7239 adds the header": "adds the header"
		return rest
	}
	return text
}

// defaultText is the default of a field as JSON, unless there is none: it must
// be written, it is absent, or it is an object with defaults of its own.
func defaultText(v reflect.Value, tag reflect.StructTag, required bool) string {
	if required || absent(v, tag) || v.Kind() == reflect.Pointer {
		return ""
	}
	t := encode(v)
	if t.kind == mapping || t.kind == scalar && t.text == "" {
		return ""
	}
	text, err := appendJSON(nil, t, false)
	if err != nil {
		return ""
	}
	return string(text)
}

func (d *describer) typeOf(t reflect.Type, r rule) Type {
	switch t {
	case reflect.TypeFor[Duration]():
		return Type{Kind: KindDuration}
	case reflect.TypeFor[Size]():
		return Type{Kind: KindSize, Min: r.min, Max: r.max}
	case reflect.TypeFor[Rate]():
		return Type{Kind: KindRate}
	case reflect.TypeFor[Secret]():
		return Type{Kind: KindSecret}
	case reflect.TypeFor[Filter]():
		return Type{Kind: KindFilter}
	case reflect.TypeFor[Node]():
		return Type{Kind: KindAny}
	}
	text := Type{Kind: KindText, Enum: r.enum, Name: r.format == "name"}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return text
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.typeOf(t.Elem(), r)
	case reflect.Struct:
		return Type{Kind: KindObject, Shape: d.name(t)}
	case reflect.Slice, reflect.Map:
		of := d.typeOf(t.Elem(), r)
		if t.Kind() == reflect.Map {
			return Type{Kind: KindMap, Of: &of}
		}
		_, alone := reflect.New(t).Interface().(textForm)
		return Type{Kind: KindList, Of: &of, Alone: alone}
	case reflect.Bool:
		return Type{Kind: KindBool}
	case reflect.String:
		return text
	case reflect.Float32, reflect.Float64:
		return Type{Kind: KindNumber, Min: r.min, Max: r.max}
	}
	return Type{Kind: KindInteger, Enum: r.enum, Min: r.min, Max: r.max}
}
