package config

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// The patterns of the texts that units.go reads.
const (
	durationPattern = `^(0|([0-9]+d)?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*)$`
	sizePattern     = `^[0-9]+ ?(B|KB|KiB|MB|MiB|GB|GiB)?$`
	ratePattern     = `^[0-9]+/[smhd]$`
	namePattern     = `^[A-Za-z0-9][A-Za-z0-9._/-]*$`
)

// Schema is the JSON Schema (2020-12) of a document. filters are the settings
// of the filters that may be named, as for Describe. Whatever the
// decoder takes, the schema takes; the decoder is the stricter of the two.
func Schema(filters map[string]any, comments Comments) ([]byte, error) {
	shapes := Describe(filters, comments)
	defs := &schemaObject{}
	var settings []*Shape
	for i := range shapes {
		if shapes[i].Filter != "" {
			settings = append(settings, &shapes[i])
		}
		if i > 0 {
			defs.set(shapes[i].Name, shapeSchema(&shapes[i]))
		}
	}
	sharedSchemas(defs, settings)
	root := &schemaObject{}
	root.set("$schema", "https://json-schema.org/draft/2020-12/schema")
	root.set("$id", "urn:weirproxy:document:"+strconv.Itoa(Version))
	root.set("title", "Weir document")
	root.append(shapeSchema(&shapes[0]))
	root.set("patternProperties", schema("^x-", true))
	root.set("$defs", defs)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// schemaObject is a JSON object that keeps its order: that of the Go types.
type schemaObject struct {
	keys   []string
	values []any
}

func (o *schemaObject) set(key string, value any) *schemaObject {
	o.keys, o.values = append(o.keys, key), append(o.values, value)
	return o
}

func (o *schemaObject) append(other *schemaObject) {
	o.keys, o.values = append(o.keys, other.keys...), append(o.values, other.values...)
}

// MarshalJSON writes the keys in their order.
func (o *schemaObject) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, key := range o.keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, key), ':')
		var value bytes.Buffer
		encoder := json.NewEncoder(&value)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(o.values[i]); err != nil {
			return nil, err
		}
		out = append(out, bytes.TrimSpace(value.Bytes())...)
	}
	return append(out, '}'), nil
}

func schema(key string, value any) *schemaObject { return (&schemaObject{}).set(key, value) }

func ref(name string) *schemaObject { return schema("$ref", "#/$defs/"+name) }

// anyText: YAML takes 404 and true for a number and a boolean, the decoder
// takes the text as it stands.
func anyText() []string { return []string{"string", "number", "boolean"} }

func shapeSchema(s *Shape) *schemaObject {
	properties, required := &schemaObject{}, []string{}
	for i := range s.Fields {
		f := &s.Fields[i]
		properties.set(f.Key, fieldSchema(f))
		if f.Required {
			required = append(required, f.Key)
		}
	}
	object := schema("type", "object").set("properties", properties).set("additionalProperties", false)
	if len(required) > 0 {
		object.set("required", required)
	}
	out := &schemaObject{}
	if s.Comment != "" {
		out.set("description", s.Comment)
	}
	if s.Text {
		return out.set("anyOf", []any{schema("type", anyText()), object})
	}
	out.append(object)
	return out
}

func fieldSchema(f *ShapeField) *schemaObject {
	out := &schemaObject{}
	if f.Comment != "" {
		out.set("description", f.Comment)
	}
	out.append(typeSchema(&f.Type))
	if f.Required {
		switch f.Type.Kind {
		case KindText:
			out.set("minLength", 1)
		case KindList:
			out.set("minItems", 1)
		}
	}
	if f.Default != "" {
		out.set("default", json.RawMessage(f.Default))
	}
	return out
}

func typeSchema(t *Type) *schemaObject {
	switch t.Kind {
	case KindText:
		return textSchema(t)
	case KindBool:
		return schema("type", "boolean")
	case KindInteger:
		if t.Enum != nil {
			return schema("enum", enumValues(t.Enum))
		}
		return bounds(schema("type", "integer"), t)
	case KindNumber:
		return bounds(schema("type", "number"), t)
	case KindObject:
		return ref(t.Shape)
	case KindList:
		list := schema("type", "array").set("items", typeSchema(t.Of))
		if t.Alone {
			return schema("anyOf", []any{typeSchema(t.Of), list})
		}
		return list
	case KindMap:
		return schema("type", "object").set("additionalProperties", typeSchema(t.Of))
	case KindAny:
		return &schemaObject{}
	}
	return ref(string(t.Kind))
}

func textSchema(t *Type) *schemaObject {
	if t.Enum != nil {
		return schema("enum", enumValues(t.Enum))
	}
	out := schema("type", anyText())
	if t.Name {
		out.set("pattern", namePattern).set("maxLength", 253)
	}
	return out
}

// enumValues also lists numbers as such: min_version: 1.2 needs no quotes.
func enumValues(texts []string) []any {
	values := make([]any, 0, len(texts))
	for _, text := range texts {
		values = append(values, text)
		if isJSONNumber(text) {
			values = append(values, json.RawMessage(text))
		}
	}
	return values
}

func bounds(out *schemaObject, t *Type) *schemaObject {
	least := t.Min
	if least == "" {
		least = "0"
	}
	out.set("minimum", json.RawMessage(least))
	if t.Max != "" {
		out.set("maximum", json.RawMessage(t.Max))
	}
	return out
}

// sharedSchemas defines the kinds that typeSchema refers to by name.
func sharedSchemas(defs *schemaObject, settings []*Shape) {
	defs.set(string(KindDuration), schema("anyOf", []any{
		schema("type", "string").set("pattern", durationPattern).set("minLength", 1), schema("const", 0),
	}))
	defs.set(string(KindSize), schema("anyOf", []any{
		schema("type", "string").set("pattern", sizePattern), schema("type", "integer").set("minimum", 0),
	}))
	defs.set(string(KindRate), schema("type", "string").set("pattern", ratePattern))
	defs.set(string(KindSecret), schema("type", "object").
		set("properties", schema("file", schema("type", anyText())).set("env", schema("type", anyText()))).
		set("additionalProperties", false).set("minProperties", 1).set("maxProperties", 1))
	defs.set(string(KindFilter), filterSchema(settings))
}

// filterSchema: the name alone, or the name with its settings.
func filterSchema(settings []*Shape) *schemaObject {
	properties, names := &schemaObject{}, []string{}
	for _, s := range settings {
		names = append(names, s.Filter)
		properties.set(s.Filter, schema("anyOf", []any{ref(s.Name), schema("type", "null")}).set("description", s.Comment))
	}
	return schema("anyOf", []any{
		schema("enum", names),
		schema("type", "object").set("properties", properties).set("additionalProperties", false).
			set("minProperties", 1).set("maxProperties", 1),
	})
}
