package config

import (
	"reflect"
	"strings"
)

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
