package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// pathEdit is what a rewrite or a redirect does to a path. Canonical parts are
// put together by whole segments, so that the result is canonical and nothing
// of it is parsed again.
type pathEdit struct {
	// from is the prefix that the match took, to what stands there instead;
	// both without a slash at their ends. Used when pieces is nil.
	from, to string
	// pieces make up the whole path. segments is the template that the
	// captures among them come from.
	pieces   []piece
	segments []snapshot.Segment
}

// piece is a literal or a segment of the path.
type piece struct {
	literal string
	segment int // used when capture
	capture bool
	rest    bool // the segment and all behind it
}

var errPathGone = errors.New("a filter has replaced the path with one that the match of the route does not hold for")

// newPathEdit makes an edit of the two ways to write one. With neither it
// leaves every path as it is.
func newPathEdit(prefix, path *string, match *snapshot.Path) (pathEdit, error) {
	switch {
	case prefix != nil && path != nil:
		return pathEdit{}, errors.New("prefix and path exclude each other; remove one")
	case path != nil:
		return wholePath(*path, match)
	case prefix != nil:
		return prefixEdit(*prefix, match)
	}
	return pathEdit{}, nil
}

func prefixEdit(prefix string, match *snapshot.Path) (pathEdit, error) {
	if match.Kind != snapshot.PathPrefix && match.Kind != snapshot.PathAny {
		return pathEdit{}, errors.New("prefix replaces what match.path.prefix took, and the route has none; use path")
	}
	edit := pathEdit{}
	if match.Kind == snapshot.PathPrefix {
		edit.from = strings.TrimSuffix(match.Text, "/")
	}
	if prefix == "" {
		return edit, nil
	}
	to, err := canonicalPart(prefix)
	if err != nil {
		return pathEdit{}, fmt.Errorf("prefix %q: %w", prefix, err)
	}
	edit.to = strings.TrimSuffix(to, "/")
	return edit, nil
}

// canonicalPart is CanonicalPath for text of a document, where "?" and "#" are
// taken for what they would be in a URL.
func canonicalPart(text string) (string, error) {
	if strings.ContainsAny(text, "?#") {
		return "", errors.New(`a path has no query and no fragment; write "?" as %3F and "#" as %23`)
	}
	return stream.CanonicalPath(text)
}

func wholePath(path string, match *snapshot.Path) (pathEdit, error) {
	edit := pathEdit{pieces: []piece{}}
	if !strings.Contains(path, "{") {
		literal, err := canonicalPart(path)
		if err != nil {
			return pathEdit{}, fmt.Errorf("path %q: %w", path, err)
		}
		edit.literal(literal)
		return edit, nil
	}
	if match.Kind == snapshot.PathTemplate {
		edit.segments = match.Segments
	}
	if path[0] != '/' {
		return pathEdit{}, fmt.Errorf(`path %q does not start with "/"`, path)
	}
	segments := strings.Split(path[1:], "/")
	for i, text := range segments {
		last := i == len(segments)-1
		if text == "" && !last {
			continue // "//" is "/"
		}
		edit.literal("/")
		if err := edit.segment(text, last); err != nil {
			return pathEdit{}, fmt.Errorf("path %q: %w", path, err)
		}
	}
	return edit, nil
}

// segment adds one segment: literals and {captures}.
func (p *pathEdit) segment(text string, last bool) error {
	for first := true; text != ""; first = false {
		literal, capture, found := strings.Cut(text, "{")
		if err := p.literalPart(literal, first); err != nil {
			return err
		}
		if !found {
			return nil
		}
		name, rest, closed := strings.Cut(capture, "}")
		if !closed {
			return errors.New(`"{" without "}"`)
		}
		at, err := p.capture(strings.TrimSuffix(name, "..."))
		if err != nil {
			return err
		}
		// What a {name...} took has slashes, and may be empty or end in one.
		if at.rest && (literal != "" || !first || rest != "" || !last) {
			return fmt.Errorf("{%s} is several segments and can only be the whole end of the path", name)
		}
		p.pieces = append(p.pieces, at)
		text = rest
	}
	return nil
}

// literalPart adds a literal that shares its segment with captures. At the
// start of a segment, dots are refused: a capture must not make a dot segment
// of them.
func (p *pathEdit) literalPart(text string, first bool) error {
	if text == "" {
		return nil
	}
	canonical, err := canonicalPart("/_" + text)
	if err != nil {
		return err
	}
	canonical = canonical[len("/_"):]
	if dots := strings.TrimLeft(canonical, "."); first && len(dots) < len(canonical) && (dots == "" || dots[0] == ';') {
		return fmt.Errorf("segment %q is or begins with a dot segment", text)
	}
	p.literal(canonical)
	return nil
}

func (p *pathEdit) literal(text string) {
	if n := len(p.pieces); n > 0 && !p.pieces[n-1].capture {
		p.pieces[n-1].literal += text
		return
	}
	p.pieces = append(p.pieces, piece{literal: text})
}

func (p *pathEdit) capture(name string) (piece, error) {
	i := slices.IndexFunc(p.segments, func(s snapshot.Segment) bool { return s.Name == name })
	if i < 0 || name == "" {
		return piece{}, fmt.Errorf("{%s} is not in match.path.template", name)
	}
	return piece{segment: i, capture: true, rest: p.segments[i].Rest}, nil
}

// apply is the edited path. ok is false when the match of the route does not
// hold for path any more. What is not a path ("*") stays.
func (p *pathEdit) apply(path string) (edited string, ok bool) {
	switch {
	case !isPath(path):
		return path, true
	case p.pieces != nil:
		return p.compose(path)
	case !isBelow(path, p.from):
		return "", false
	}
	if p.from == p.to {
		return path, true
	}
	if edited = p.to + path[len(p.from):]; edited == "" {
		return "/", true
	}
	return edited, true
}

// isBelow tells whether a path is prefix, which has no slash at its end, or
// below it by whole segments.
func isBelow(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

func (p *pathEdit) compose(path string) (edited string, ok bool) {
	if len(p.pieces) == 1 && !p.pieces[0].capture {
		return p.pieces[0].literal, true
	}
	if !holdsTemplate(p.segments, path) {
		return "", false
	}
	var b strings.Builder
	b.Grow(p.room(path))
	for i := range p.pieces {
		b.WriteString(p.pieces[i].text(path))
	}
	return b.String(), true
}

func (p *pathEdit) room(path string) int {
	n := 0
	for i := range p.pieces {
		n += len(p.pieces[i].text(path))
	}
	return n
}

func (p *piece) text(path string) string {
	if p.capture {
		return segmentAt(path, p.segment, p.rest)
	}
	return p.literal
}
