package transcode

import (
	"fmt"
	"slices"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxDepth bounds how deep messages may be nested, as JSON and as protobuf.
const maxDepth = 100

// schema is what descriptors say, ready for requests. It does not change.
type schema struct {
	routes  routes
	types   *dynamicpb.Types // for google.protobuf.Any and extensions
	methods int              // how many are served
}

// method is a gRPC method.
type method struct {
	path            string // "/package.Service/Method"
	input, output   protoreflect.MessageDescriptor
	clientStreaming bool
	serverStreaming bool
}

// binding is one way in which a method is served.
type binding struct {
	method       *method
	vars         []variable
	body         bodyKind
	bodyField    protoreflect.FieldDescriptor // of bodyField
	responseBody protoreflect.FieldDescriptor // nil: the whole message
}

type bodyKind uint8

const (
	noBody bodyKind = iota
	wholeBody
	fieldBody
)

// variable is a part of a path that goes into a field.
type variable struct {
	field      []protoreflect.FieldDescriptor // from the input message on
	start, end int                            // segments; end -1: to the end of the path
}

// compile makes a schema. problems are bindings that are left out, and why; the
// error says that nothing can be made of the set.
func compile(set *descriptorpb.FileDescriptorSet, o options) (s *schema, problems []string, err error) {
	defer func() { // descriptors may come from an upstream
		if r := recover(); r != nil {
			s, problems, err = nil, nil, fmt.Errorf("the descriptors cannot be read: %v", r)
		}
	}()
	files, err := protodesc.FileOptions{AllowUnresolvable: false}.NewFiles(set)
	if err != nil {
		return nil, nil, fmt.Errorf("the descriptors do not fit together: %w", err)
	}
	c := compiler{schema: &schema{types: dynamicpb.NewTypes(files)}, options: o}
	missing := slices.Clone(o.services)
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			name := string(service.FullName())
			if len(o.services) > 0 && !slices.Contains(o.services, name) {
				continue
			}
			missing = slices.DeleteFunc(missing, func(s string) bool { return s == name })
			c.service(service)
		}
		return true
	})
	for _, name := range missing {
		c.problems = append(c.problems, fmt.Sprintf("there is no service %q", name))
	}
	slices.Sort(c.problems) // files come in the order of a map
	return c.schema, c.problems, nil
}

type compiler struct {
	schema   *schema
	options  options
	problems []string
}

func (c *compiler) service(service protoreflect.ServiceDescriptor) {
	methods := service.Methods()
	for i := range methods.Len() {
		d := methods.Get(i)
		m := &method{
			path:  "/" + string(service.FullName()) + "/" + string(d.Name()),
			input: d.Input(), output: d.Output(),
			clientStreaming: d.IsStreamingClient(), serverStreaming: d.IsStreamingServer(),
		}
		rules := rulesOf(d, c.options.autoMapping, m.path)
		if len(rules) > 0 {
			c.schema.methods++
		}
		for _, rule := range rules {
			if err := c.bind(m, rule); err != nil {
				c.problems = append(c.problems, fmt.Sprintf("%s: %v", d.FullName(), err))
			}
		}
	}
}

// rulesOf are the annotations of a method: the rule itself and its additional
// bindings, which have none of their own.
func rulesOf(d protoreflect.MethodDescriptor, auto bool, path string) []*annotations.HttpRule {
	if options, ok := d.Options().(*descriptorpb.MethodOptions); ok && proto.HasExtension(options, annotations.E_Http) {
		rule, ok := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
		if ok && rule != nil {
			return append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...)
		}
	}
	if !auto {
		return nil
	}
	return []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Post{Post: path}, Body: "*"}}
}

// patternOf is the HTTP method ("*" for any) and the path template of a rule.
func patternOf(rule *annotations.HttpRule) (verb, template string, err error) {
	switch p := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get, nil
	case *annotations.HttpRule_Put:
		return "PUT", p.Put, nil
	case *annotations.HttpRule_Post:
		return "POST", p.Post, nil
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete, nil
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch, nil
	case *annotations.HttpRule_Custom:
		if kind := p.Custom.GetKind(); kind != "" {
			return kind, p.Custom.GetPath(), nil
		}
	}
	return "", "", fmt.Errorf("the annotation names no HTTP method")
}

func (c *compiler) bind(m *method, rule *annotations.HttpRule) error {
	verb, text, err := patternOf(rule)
	if err != nil {
		return err
	}
	t, err := parseTemplate(text)
	if err != nil {
		return fmt.Errorf("%s %q: %w", verb, text, err)
	}
	b := &binding{method: m}
	for _, v := range t.vars {
		field, err := variableField(m.input, v.field)
		if err != nil {
			return fmt.Errorf("%s %q: {%s}: %w", verb, text, v.field, err)
		}
		b.vars = append(b.vars, variable{field: field, start: v.start, end: v.end})
	}
	if err := b.bodies(rule); err != nil {
		return fmt.Errorf("%s %q: %w", verb, text, err)
	}
	if !c.schema.routes.add(verb, t, b) {
		return fmt.Errorf("%s %q is taken by another method", verb, text)
	}
	return nil
}

// bodies resolves body and response_body.
func (b *binding) bodies(rule *annotations.HttpRule) error {
	switch rule.Body {
	case "":
		if b.method.clientStreaming {
			return fmt.Errorf("the method streams requests, so its annotation needs a body")
		}
	case "*":
		b.body = wholeBody
	default:
		b.body, b.bodyField = fieldBody, fieldOf(b.method.input, rule.Body)
		if b.bodyField == nil {
			return fmt.Errorf("body: %s has no field %q", b.method.input.FullName(), rule.Body)
		}
	}
	if rule.ResponseBody != "" {
		if b.responseBody = fieldOf(b.method.output, rule.ResponseBody); b.responseBody == nil {
			return fmt.Errorf("response_body: %s has no field %q", b.method.output.FullName(), rule.ResponseBody)
		}
	}
	return nil
}
