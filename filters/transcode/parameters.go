package transcode

import (
	"fmt"
	"net/url"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirproxy/weir/stream"
)

// maxParams bounds the parameters of a query that go into fields.
const maxParams = 1000

// parameters puts the variables of the path and the query into a message. The
// error is for the client.
func (c *call) parameters(m protoreflect.Message, target *stream.Target, at *match) error {
	if err := c.query(m, target); err != nil {
		return err
	}
	for i := range c.binding.vars {
		v := &c.binding.vars[i]
		text, err := url.PathUnescape(at.value(v))
		if err == nil {
			err = put(m, v.field, text)
		}
		if err != nil {
			return fmt.Errorf("the part of the path for %s: %w", nameOf(v.field), err)
		}
	}
	return nil
}

func (c *call) query(m protoreflect.Message, target *stream.Target) error {
	n := 0
	for name, value := range target.QueryParams() {
		if n++; n > maxParams {
			return fmt.Errorf("the query has more than %d parameters", maxParams)
		}
		field, err := resolve(m.Descriptor(), name)
		if err == nil && c.elsewhere(field) {
			err = errFieldUnknown // the path or the body has it
		}
		if err == nil {
			err = putOnce(m, field, value)
		} else if c.options.ignoreUnknownQuery && err == errFieldUnknown { //nolint:errorlint // set above, or by resolve as it is
			continue
		}
		if err != nil {
			return fmt.Errorf("the query parameter %.100q: %w", name, err)
		}
	}
	return nil
}

// elsewhere tells whether path or body give the field its value.
func (c *call) elsewhere(field []protoreflect.FieldDescriptor) bool {
	switch c.binding.body {
	case wholeBody:
		return true
	case fieldBody:
		if field[0] == c.binding.bodyField {
			return true
		}
	}
	for i := range c.binding.vars {
		if slices.Equal(c.binding.vars[i].field, field) {
			return true
		}
	}
	return false
}

// putOnce refuses a second value for a field that holds one, so that nobody
// has to guess which of them counts.
func putOnce(m protoreflect.Message, path []protoreflect.FieldDescriptor, text string) error {
	last := path[len(path)-1]
	if !last.IsList() && has(m, path) {
		return errFieldRepeated
	}
	if one := last.ContainingOneof(); one != nil && !last.IsList() {
		if other := whichOneof(m, path); other != nil && other != last {
			return fmt.Errorf("%s is set already, and only one of %s may be", other.Name(), one.Name())
		}
	}
	return put(m, path, text)
}

func has(m protoreflect.Message, path []protoreflect.FieldDescriptor) bool {
	for _, f := range path[:len(path)-1] {
		if !m.Has(f) {
			return false
		}
		m = m.Get(f).Message()
	}
	return m.Has(path[len(path)-1])
}

func whichOneof(m protoreflect.Message, path []protoreflect.FieldDescriptor) protoreflect.FieldDescriptor {
	for _, f := range path[:len(path)-1] {
		m = m.Get(f).Message()
	}
	return m.WhichOneof(path[len(path)-1].ContainingOneof())
}

func nameOf(path []protoreflect.FieldDescriptor) string {
	name := ""
	for i, f := range path {
		if i > 0 {
			name += "."
		}
		name += string(f.Name())
	}
	return name
}
