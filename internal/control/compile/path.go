package compile

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Bounds of a regular expression: its text, and the program made of it (the
// work per byte of a path grows with it).
const (
	maxRegexText    = 4096
	maxRegexProgram = 10_000
)

// pathMatch compiles the condition on the path.
func pathMatch(spec *config.PathMatch, r *config.Report) snapshot.Path {
	kinds := []struct {
		name, text string
		compile    func(text string, r *config.Report) snapshot.Path
	}{
		{"exact", spec.Exact, exactPath},
		{"prefix", spec.Prefix, prefixPath},
		{"template", spec.Template, templatePath},
		{"regex", spec.Regex, regexPath},
	}
	var compiled snapshot.Path
	first := ""
	for _, kind := range kinds {
		switch {
		case kind.text == "":
		case first != "":
			r.Errorf(kind.name, "keep one, or make two routes", "path has %s and %s", first, kind.name)
		default:
			first = kind.name
			compiled = kind.compile(kind.text, r)
		}
	}
	return compiled
}

func exactPath(text string, r *config.Report) snapshot.Path {
	return snapshot.Path{Kind: snapshot.PathExact, Text: canonical(text, "exact", r)}
}

func prefixPath(text string, r *config.Report) snapshot.Path {
	prefix := canonical(text, "prefix", r)
	if len(prefix) > 1 { // by whole segments: /v1/ holds for what /v1 does
		prefix = strings.TrimSuffix(prefix, "/")
	}
	return snapshot.Path{Kind: snapshot.PathPrefix, Text: prefix}
}

// canonical is the path in the form that requests have. One that differs from
// what is written works, but was probably meant otherwise.
func canonical(text, path string, r *config.Report) string {
	form, err := stream.CanonicalPath(text)
	if err != nil {
		r.Errorf(path, "write a path such as /v1/users", "path %q: %v", text, err)
		return ""
	}
	if form != text {
		r.Warnf(path, "write it like that", "path %q means %q", text, form)
	}
	return form
}

func templatePath(text string, r *config.Report) snapshot.Path {
	segments, err := parseTemplate(text)
	if err != nil {
		r.Errorf("template", "write /users/{id} or /files/{rest...}", "template %q: %v", text, err)
		return snapshot.Path{}
	}
	names := 0
	for _, segment := range segments {
		if segment.Name != "" {
			names++
		}
	}
	if names == 0 {
		r.Warnf("template", "write path: {exact: ...}", "template %q has no {name}", text)
	}
	return snapshot.Path{Kind: snapshot.PathTemplate, Text: text, Segments: segments}
}

// parseTemplate splits /users/{id}/files/{rest...} into its segments. A slash
// at the end is a last segment without a name and an empty literal.
func parseTemplate(text string) ([]snapshot.Segment, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, errors.New(`it does not start with "/"`)
	}
	var segments []snapshot.Segment
	seen := map[string]bool{}
	parts := strings.Split(text[1:], "/")
	for i, part := range parts {
		last := i == len(parts)-1
		segment, err := parseSegment(part, last)
		if err != nil {
			return nil, err
		}
		if segment.Name != "" && seen[segment.Name] {
			return nil, fmt.Errorf("{%s} stands there twice", segment.Name)
		}
		seen[segment.Name] = true
		segments = append(segments, segment)
	}
	return segments, nil
}

func parseSegment(part string, last bool) (snapshot.Segment, error) {
	inner, braced := strings.CutPrefix(part, "{")
	if !braced {
		if strings.ContainsAny(part, "{}") {
			return snapshot.Segment{}, fmt.Errorf("%q: {name} is a whole segment", part)
		}
		return literalSegment(part, last)
	}
	inner, closed := strings.CutSuffix(inner, "}")
	if !closed {
		return snapshot.Segment{}, fmt.Errorf("%q: {name} is a whole segment", part)
	}
	name, rest := strings.CutSuffix(inner, "...")
	if !isTemplateName(name) {
		return snapshot.Segment{}, fmt.Errorf("%q: a name has letters, digits and _", part)
	}
	if rest && !last {
		return snapshot.Segment{}, fmt.Errorf("%s takes all that follows, so it must be the last segment", part)
	}
	return snapshot.Segment{Name: name, Rest: rest}, nil
}

func literalSegment(part string, last bool) (snapshot.Segment, error) {
	if part == "" {
		if !last {
			return snapshot.Segment{}, errors.New(`"//" stands for one slash; write one`)
		}
		return snapshot.Segment{}, nil
	}
	form, err := stream.CanonicalPath("/" + part)
	if err != nil {
		return snapshot.Segment{}, err
	}
	if len(form) < 2 { // "." and ".." are resolved away
		return snapshot.Segment{}, fmt.Errorf("%q cannot be a segment", part)
	}
	return snapshot.Segment{Literal: form[1:]}, nil
}

func isTemplateName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func regexPath(text string, r *config.Report) snapshot.Path {
	compiled := regex(text, "regex", r)
	if compiled != nil && startsElsewhere(text) {
		r.Errorf("regex", `start it with "/"`, "regex %q can match no path: paths start with /", text)
	}
	return snapshot.Path{Kind: snapshot.PathRegex, Text: text, Regex: compiled}
}

// startsElsewhere tells whether a literal other than "/" stands at the start.
func startsElsewhere(text string) bool {
	plain, err := regexp.Compile(strings.TrimPrefix(text, "^"))
	if err != nil {
		return false
	}
	literal, _ := plain.LiteralPrefix()
	return literal != "" && literal[0] != '/'
}

// regex compiles an expression that must match the whole value; nil after an
// error.
func regex(text, path string, r *config.Report) *regexp.Regexp {
	if len(text) > maxRegexText {
		r.Errorf(path, "make it shorter, or write several routes", "the regex has %d bytes, more than %d", len(text), maxRegexText)
		return nil
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		r.Errorf(path, "the syntax is RE2: https://github.com/google/re2/wiki/Syntax", "regex %q: %s", text, regexFailure(err))
		return nil
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxRegexProgram {
		r.Errorf(path, "use smaller repetitions", "regex %q is too expensive", text)
		return nil
	}
	compiled, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil { // what Parse accepts by itself may not nest: a lone flag group
		r.Errorf(path, "the syntax is RE2: https://github.com/google/re2/wiki/Syntax", "regex %q: %s", text, regexFailure(err))
		return nil
	}
	return compiled
}

// regexFailure is the message without the doubled "error parsing regexp".
func regexFailure(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}
