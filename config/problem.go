package config

import (
	"fmt"
	"strconv"
)

// Pos is a place in a document. Line and Col count from 1; the zero Pos is "no
// place" (a default, a value made by a tool).
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Severity tells a problem that refuses the object from one that does not.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one thing wrong with a document: where, what, and what to do.
type Problem struct {
	Pos      Pos      `json:"pos"`
	Severity Severity `json:"severity"`
	// Object is the kind and name it belongs to ("route payments"), or "".
	Object string `json:"object,omitempty"`
	// What is wrong, with the offending text.
	What string `json:"what"`
	// Fix says what to do.
	Fix string `json:"fix,omitempty"`
}

func (p Problem) String() string {
	s := p.Pos.String()
	if s != "" { // made of flags: there is no place
		s += ": "
	}
	if p.Severity == Warning {
		s += "warning: "
	}
	s += p.What
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Problems is a list in the order of the document.
type Problems []Problem

// Errors is the number of problems that refuse something.
func (ps Problems) Errors() int {
	n := 0
	for _, p := range ps {
		if p.Severity == Error {
			n++
		}
	}
	return n
}

// Origin is where an object stood in the documents. Listener, Route and
// Cluster embed it.
type Origin struct {
	Pos    Pos
	fields []fieldPlace // nil when the object was not read from a document
}

// fieldPlace is where a field was written. It is small, and the paths are
// shared by all objects of a file: there may be 100,000 of them.
type fieldPlace struct {
	path      string // below the object: "match.path.regex", "to[1].cluster"
	line, col int32
}

// At is the place of a field below the object ("to[1].cluster"), or of the
// nearest part of that path that was written.
func (o *Origin) At(path string) Pos {
	for path != "" {
		for i := range o.fields {
			if f := &o.fields[i]; f.path == path {
				return Pos{File: o.Pos.File, Line: int(f.line), Col: int(f.col)}
			}
		}
		path = parentPath(path)
	}
	return o.Pos
}

// places records where every field of an object stands. words shares the paths.
func places(t *tree, words map[string]string) []fieldPlace {
	fields := make([]fieldPlace, 0, t.size)
	var path []byte
	var walk func(t *tree)
	add := func(line, col int32) {
		word, ok := words[string(path)]
		if !ok {
			word = string(path)
			words[word] = word
		}
		fields = append(fields, fieldPlace{word, line, col})
	}
	walk = func(t *tree) {
		base := len(path)
		for i, item := range t.items {
			path = append(strconv.AppendInt(append(path, '['), int64(i), 10), ']')
			add(item.line, item.col)
			walk(item)
			path = path[:base]
		}
		for i := range t.entries {
			e := &t.entries[i]
			if base > 0 {
				path = append(path, '.')
			}
			path = append(path, e.key...)
			add(e.place())
			walk(e.value)
			path = path[:base]
		}
	}
	walk(t)
	return fields
}

// parentPath takes the last step off: "to[1].cluster", "to[1]", "to", "".
func parentPath(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}

// Report gathers the problems of one object. It is what every check writes to,
// those of filters included.
type Report struct {
	object   string
	at       func(path string) Pos
	problems *Problems
	clean    *bool // set to false by the first error; may be nil
}

// NewReport gathers into problems what is wrong with an object of that kind
// and name ("route payments"); at finds the place of a path below it.
func NewReport(object string, at func(path string) Pos, problems *Problems) *Report {
	return &Report{object: object, at: at, problems: problems}
}

// Errorf reports that the value at path is refused. fix says what to do.
func (r *Report) Errorf(path, fix, format string, args ...any) {
	r.add(Error, path, fix, format, args)
}

// Warnf reports that the value at path is suspicious.
func (r *Report) Warnf(path, fix, format string, args ...any) {
	r.add(Warning, path, fix, format, args)
}

// Watch is the same report, which also sets clean to false on an error.
func (r *Report) Watch(clean *bool) *Report {
	watched := *r
	watched.clean = clean
	return &watched
}

// Below is the report for a part of the object.
func (r *Report) Below(prefix string) *Report {
	return &Report{object: r.object, problems: r.problems, clean: r.clean, at: func(path string) Pos {
		if path == "" {
			return r.at(prefix)
		}
		if path[0] == '[' {
			return r.at(prefix + path)
		}
		return r.at(prefix + "." + path)
	}}
}

func (r *Report) add(severity Severity, path, fix, format string, args []any) {
	r.addAt(severity, r.at(path), fmt.Sprintf(format, args...), fix)
}

// addAt is for who knows the place better than by path: the decoder.
func (r *Report) addAt(severity Severity, pos Pos, what, fix string) {
	if severity == Error && r.clean != nil {
		*r.clean = false
	}
	*r.problems = append(*r.problems, Problem{Pos: pos, Severity: severity, Object: r.object, What: what, Fix: fix})
}
