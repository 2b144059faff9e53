package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
)

const introduction = `# Reference of the document

<!-- Made from the Go types by tools/reference; change the comments there. -->

A document is YAML or JSON: one file, several, or a folder. Lists are joined over the files. ` + "`weir check`" + ` names every
problem with its place, ` + "`weir check --effective`" + ` shows a document with all defaults, and ` + "`weir schema`" + ` prints the
JSON Schema, with which an editor completes and checks.

| type | written as |
|---|---|
| text | as it stands; quotes only where YAML needs them |
| duration | a number and a unit: ` + "`250ms`, `15s`, `5m`, `1h30m`, `1d`" + ` |
| size | bytes, or with a unit: ` + "`512`, `64KiB`, `10MiB`, `1GiB`; `KB`, `MB`, `GB`" + ` are powers of 1,000 |
| rate | a number per time: ` + "`100/s`, `30/m`, `1000/h`" + ` |
| secret | never itself, always a reference: ` + "`{file: PATH}` or `{env: NAME}`" + ` |
| name | letters, digits and ` + "`. _ - /`" + `, at most 253 |
| filter | ` + "`- name: {settings}`, or `- name`" + ` alone |

An explicit 0 or false is never replaced by a default. A key without a value is refused.
`

// markdown is the reference: a table for each shape.
func markdown(shapes []config.Shape) []byte {
	var out bytes.Buffer
	out.WriteString(introduction)
	for i := range shapes {
		s := &shapes[i]
		title := s.Name
		if s.Filter != "" {
			title = "Filter " + s.Filter
		}
		fmt.Fprintf(&out, "\n## <a id=%q></a>%s\n\n%s\n", anchor(s.Name), title, s.Comment)
		if s.Filter != "" {
			fmt.Fprintf(&out, "\nMore: [filters/%[1]s](../filters/%[1]s/README.md).\n", strings.SplitN(s.Name, ".", 2)[0])
		}
		if s.Text {
			fmt.Fprintf(&out, "\nMay be written as one text: its %s.\n", s.Fields[0].Key)
		}
		out.WriteString("\n| field | type | default | meaning |\n|---|---|---|---|\n")
		for j := range s.Fields {
			row(&out, &s.Fields[j])
		}
	}
	return out.Bytes()
}

func row(out *bytes.Buffer, f *config.ShapeField) {
	value := ""
	switch {
	case f.Required:
		value = "required"
	case f.Default != "":
		value = "`" + unquote(f.Default) + "`"
	}
	fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", f.Key, cell(typeText(&f.Type)), cell(value), cell(f.Comment))
}

// typeText says what may stand there.
func typeText(t *config.Type) string {
	switch {
	case t.Kind == config.KindObject:
		return fmt.Sprintf("[%s](#%s)", t.Shape, anchor(t.Shape))
	case t.Kind == config.KindList && t.Alone:
		return typeText(t.Of) + ", or a list of it"
	case t.Kind == config.KindList:
		return "list of " + typeText(t.Of)
	case t.Kind == config.KindMap:
		return "mapping of names to " + typeText(t.Of)
	case t.Enum != nil:
		words := make([]string, 0, len(t.Enum))
		for _, word := range t.Enum {
			if word != "" {
				words = append(words, "`"+word+"`")
			}
		}
		return strings.Join(words, ", ")
	case t.Name:
		return "name"
	case t.Min != "" && t.Max != "":
		return fmt.Sprintf("%s, %s to %s", t.Kind, t.Min, t.Max)
	case t.Min != "":
		return fmt.Sprintf("%s, at least %s", t.Kind, t.Min)
	case t.Max != "":
		return fmt.Sprintf("%s, 0 to %s", t.Kind, t.Max)
	}
	return string(t.Kind)
}

func anchor(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, ".", "-"))
}

// unquote shows a text without the quotes of JSON.
func unquote(json string) string {
	if strings.HasPrefix(json, `"`) && !strings.Contains(json, `\`) {
		return strings.Trim(json, `"`)
	}
	return json
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
