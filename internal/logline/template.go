package logline

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// DefaultTemplate is the text format when the document has no template. It
// begins as the combined log format does.
const DefaultTemplate = `{client} - {identity} [{time}] "{method} {path} {protocol}" {status} {bytes_out} "{header:Referer}" "{user_agent}" ` +
	`id={id} route={route} endpoint={endpoint} fault={fault} attempts={attempts} duration_ms={duration_ms} proxy_ms={proxy_ms} upstream_ms={upstream_ms}`

// Part is a piece of a template: literal text, a field, or a request header.
type Part struct {
	Literal string
	Field   Field  // when Literal and Header are ""
	Header  string // name of a request header field, or ""
}

// Template is a parsed text format.
type Template []Part

// Parse reads a template: text with {field} and {header:Name} placeholders;
// "{{" and "}}" stand for the braces.
func Parse(text string) (Template, error) {
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
		return nil, fmt.Errorf("template %q holds a control character; a record is one line", text)
	}
	var parts Template
	literal := ""
	for text != "" {
		at := strings.IndexAny(text, "{}")
		if at < 0 {
			literal += text
			break
		}
		literal += text[:at]
		brace := text[at]
		text = text[at+1:]
		if text != "" && text[0] == brace {
			literal += string(brace)
			text = text[1:]
			continue
		}
		end := strings.IndexByte(text, '}')
		if brace == '}' || end < 0 {
			return nil, fmt.Errorf("template has a lone %q; write %q for a brace", brace, []byte{brace, brace})
		}
		part, err := placeholder(text[:end])
		if err != nil {
			return nil, err
		}
		if literal != "" {
			parts = append(parts, Part{Literal: literal})
			literal = ""
		}
		parts = append(parts, part)
		text = text[end+1:]
	}
	if literal != "" {
		parts = append(parts, Part{Literal: literal})
	}
	return parts, nil
}

// Validate says what is wrong with a template.
func Validate(text string) error {
	_, err := Parse(text)
	return err
}

func placeholder(name string) (Part, error) {
	if header, ok := strings.CutPrefix(name, "header:"); ok {
		if !stream.IsToken(header) {
			return Part{}, fmt.Errorf("template: {%s} does not name a header field; write {header:X-Tenant}", name)
		}
		return Part{Header: header}, nil
	}
	if f, ok := lookup(name); ok {
		return Part{Field: f}, nil
	}
	known := make([]string, 0, NumFields)
	for f := range NumFields {
		known = append(known, f.String())
	}
	return Part{}, fmt.Errorf("template: no field {%s}; there are %s and header:NAME", name, strings.Join(known, ", "))
}
