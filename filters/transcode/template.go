package transcode

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// template is a path template of google.api.http:
//
//	Template = "/" Segments [ ":" Verb ]
//	Segments = Segment { "/" Segment }
//	Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
//
// "**" comes last, since it takes all that is left.
type template struct {
	segments []segment
	verb     string
	vars     []templateVar
}

type segment struct {
	kind    segmentKind
	literal string // in canonical form
}

type segmentKind uint8

const (
	literalSegment segmentKind = iota
	oneSegment                 // "*"
	restSegments               // "**"
)

type templateVar struct {
	field      string
	start, end int // segments; end -1: to the end
}

const (
	maxTemplate = 2 << 10
	maxSegments = 32
)

var (
	errTemplateStart = errors.New(`a path starts with "/"`)
	errTemplateLong  = errors.New("the path is too long")
	errTemplateBrace = errors.New(`"{" and "}" do not match`)
	errTemplateRest  = errors.New(`"**" is not last`)
	errTemplateEmpty = errors.New("a segment is empty")
)

func parseTemplate(text string) (template, error) {
	if text == "" || text[0] != '/' {
		return template{}, errTemplateStart
	}
	if len(text) > maxTemplate {
		return template{}, errTemplateLong
	}
	p := templateParser{rest: text[1:]}
	if err := p.path(); err != nil {
		return template{}, err
	}
	for i, s := range p.out.segments {
		if s.kind == restSegments && i != len(p.out.segments)-1 {
			return template{}, errTemplateRest
		}
	}
	if n := len(p.out.segments); n > 0 && p.out.segments[n-1].kind == restSegments {
		for i := range p.out.vars {
			if p.out.vars[i].end == n {
				p.out.vars[i].end = -1
			}
		}
	}
	return p.out, nil
}

type templateParser struct {
	rest string
	out  template
}

func (p *templateParser) path() error {
	if p.rest == "" { // "/" alone
		return nil
	}
	for {
		if err := p.part(); err != nil {
			return err
		}
		if len(p.out.segments) > maxSegments {
			return errTemplateLong
		}
		switch {
		case p.rest == "":
			return nil
		case p.rest[0] == ':':
			return p.verb()
		case p.rest[0] != '/':
			return fmt.Errorf("%q stands behind a segment", p.rest[:1])
		}
		p.rest = p.rest[1:]
	}
}

func (p *templateParser) verb() error {
	verb, err := canonicalSegment(p.rest[1:])
	p.out.verb = verb
	if err == nil && strings.ContainsAny(p.rest[1:], "{}*:/") {
		return fmt.Errorf("%q cannot be a verb", p.rest[1:])
	}
	return err
}

// part reads a segment or a variable.
func (p *templateParser) part() error {
	if !strings.HasPrefix(p.rest, "{") {
		end := strings.IndexAny(p.rest, "/:")
		if end < 0 {
			end = len(p.rest)
		}
		text := p.rest[:end]
		p.rest = p.rest[end:]
		return p.segment(text)
	}
	end := strings.IndexByte(p.rest, '}')
	if end < 0 {
		return errTemplateBrace
	}
	field, pattern, found := strings.Cut(p.rest[1:end], "=")
	p.rest = p.rest[end+1:]
	if !found {
		pattern = "*"
	}
	v := templateVar{field: field, start: len(p.out.segments)}
	for part := range strings.SplitSeq(pattern, "/") {
		if err := p.segment(part); err != nil {
			return err
		}
	}
	v.end = len(p.out.segments)
	p.out.vars = append(p.out.vars, v)
	return nil
}

func (p *templateParser) segment(text string) error {
	switch {
	case text == "*":
		p.out.segments = append(p.out.segments, segment{kind: oneSegment})
		return nil
	case text == "**":
		p.out.segments = append(p.out.segments, segment{kind: restSegments})
		return nil
	case strings.ContainsAny(text, "{}"):
		return errTemplateBrace
	case strings.Contains(text, "*"):
		return fmt.Errorf(`%q has a "*" that is not the whole segment`, text)
	}
	literal, err := canonicalSegment(text)
	p.out.segments = append(p.out.segments, segment{literal: literal})
	return err
}

// canonicalSegment is the form that the path of a request has.
func canonicalSegment(text string) (string, error) {
	if text == "" {
		return "", errTemplateEmpty
	}
	path, err := stream.CanonicalPath("/" + text)
	if err != nil {
		return "", err
	}
	if len(path) < 2 || strings.Contains(path[1:], "/") {
		return "", fmt.Errorf("%q is no segment of a path", text)
	}
	return path[1:], nil
}
