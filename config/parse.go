package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// maxProblems bounds how many problems of one file are listed.
const maxProblems = 100

// Parse reads one file, YAML or JSON; several YAML documents in it are joined.
// Objects with an error are left out and named in Broken. The Document is nil
// when the file as a whole cannot be trusted: it is no YAML, or an error at its
// top level means that whole lists may be missing.
//
// What the file does not say has its default; what it says, 0 and false
// included, stays as it is.
func Parse(file string, content []byte) (*Document, Problems) {
	p := &parser{file: file, words: map[string]string{}}
	p.decoder = newDecoder(file, p.complain)
	trees, ok := readTrees(file, content, p.complain)
	documents := make([]*Document, 0, len(trees))
	for _, t := range trees {
		d := p.document(t)
		documents, ok = append(documents, d), ok && d != nil
	}
	merged, problems := Merge(documents...)
	for _, problem := range problems {
		p.add(problem)
	}
	if !ok {
		merged = nil
	}
	return merged, p.sorted()
}

// parser reads one file.
type parser struct {
	file     string
	object   string // what is being read: "route payments"
	decoder  *decoder
	words    map[string]string // shares the paths of positions
	problems Problems
	dropped  int // problems beyond maxProblems
}

func (p *parser) complain(line, col int32, what, fix string) {
	p.add(Problem{
		Pos: Pos{File: p.file, Line: int(line), Col: int(col)}, Severity: Error, Object: p.object, What: what, Fix: fix,
	})
}

func (p *parser) add(problem Problem) {
	if len(p.problems) >= maxProblems {
		p.dropped++
		return
	}
	p.problems = append(p.problems, problem)
}

// sorted is all problems in the order of the file.
func (p *parser) sorted() Problems {
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
	if p.dropped > 0 {
		p.problems = append(p.problems, Problem{
			Pos: Pos{File: p.file}, Severity: Error, What: fmt.Sprintf("%d more problems", p.dropped), Fix: "mend these first",
		})
	}
	return p.problems
}

// document returns nil after an error at the top level, having looked at the
// rest all the same.
func (p *parser) document(t *tree) *Document {
	d := Default[Document]()
	d.parts = map[string]Origin{}
	if t.null() { // an empty file, or comments only
		return &d
	}
	if t.kind != mapping {
		p.decoder.fail(t, "begin with listeners:, routes: or clusters:", "a document is a mapping, and %s stands here", t.noun())
		return nil
	}
	ok := p.decoder.unrepeated(t)
	fields := fieldsOf(reflect.TypeFor[Document]())
	for i := range t.entries {
		ok = p.part(&t.entries[i], &d, fields) && ok
	}
	if !ok {
		return nil
	}
	return &d
}

// part reads one key of the document. It returns false when the key itself is
// wrong; a problem within an object breaks that object only.
func (p *parser) part(e *entry, d *Document, fields []fieldInfo) bool {
	switch e.key {
	case "listeners":
		return readObjects(p, "listener", e, &d.Listeners, &d.Broken)
	case "routes":
		return readObjects(p, "route", e, &d.Routes, &d.Broken)
	case "clusters":
		return readObjects(p, "cluster", e, &d.Clusters, &d.Broken)
	}
	if strings.HasPrefix(e.key, "x-") { // a place for anchors, as in Compose files
		return true
	}
	at := slices.IndexFunc(fields, func(f fieldInfo) bool { return f.key == e.key })
	if at < 0 {
		return p.decoder.unknown(e, reflect.ValueOf(d).Elem(), "the document", fields)
	}
	p.object = e.key
	defer func() { p.object = "" }()
	pos := Pos{File: p.file, Line: int(e.line), Col: int(e.col)}
	d.parts[e.key] = Origin{Pos: pos, fields: places(e.value, p.words)}
	target := reflect.ValueOf(d).Elem().Field(fields[at].index)
	fresh := reflect.New(target.Type()).Elem()
	setDefaults(fresh)
	if !p.decoder.decode(e.value, fresh, e.key, rule{}) {
		d.Broken = append(d.Broken, BrokenObject{Kind: e.key, Pos: pos})
		return true
	}
	target.Set(fresh)
	return true
}

// object is what listeners, routes and clusters have in common.
type object interface {
	name() string
	origin() *Origin
}

func (l *Listener) name() string    { return l.Name }
func (l *Listener) origin() *Origin { return &l.Origin }
func (r *Route) name() string       { return r.Name }
func (r *Route) origin() *Origin    { return &r.Origin }
func (c *Cluster) name() string     { return c.Name }
func (c *Cluster) origin() *Origin  { return &c.Origin }

// readObjects reads a list of objects: the good ones into objects, the names
// of the others into broken.
func readObjects[T any, P interface {
	*T
	object
}](p *parser, kind string, e *entry, objects *[]T, broken *[]BrokenObject) bool {
	if e.value.kind != list {
		return p.decoder.fail(e.value, "write each object on a line that begins with \"- \"",
			"%s is a list, and %s stands here", e.key, e.value.noun())
	}
	for i, item := range e.value.items {
		pos := Pos{File: p.file, Line: int(item.line), Col: int(item.col)}
		written := ""
		if name := item.find("name"); name != nil && name.kind == scalar && isName(name.text) && !name.null() {
			written = name.text
		}
		p.object = kind + " " + written
		if written == "" {
			p.object = fmt.Sprintf("%s[%d]", e.key, i)
		}
		value := Default[T]()
		if p.decoder.decode(item, reflect.ValueOf(&value).Elem(), "a "+kind, rule{}) {
			*P(&value).origin() = Origin{Pos: pos, fields: places(item, p.words)}
			*objects = append(*objects, value)
		} else {
			*broken = append(*broken, BrokenObject{Kind: kind, Name: written, Pos: pos})
		}
		p.object = ""
	}
	return true
}
