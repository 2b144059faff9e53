package config

import (
	"fmt"
	"reflect"
	"slices"
)

// Merge joins documents into one; nil ones are skipped. Objects of one kind
// that share a name are all left out and named in Broken: which one is meant is
// not known. The same holds for a part, such as admin, that stands in two
// documents.
func Merge(documents ...*Document) (*Document, Problems) {
	out := Default[Document]()
	out.parts = map[string]Origin{}
	m := &merger{out: &out, first: map[objectKey]Pos{}, twice: map[objectKey]bool{}, broken: map[objectKey]bool{}}
	for _, d := range documents {
		if d != nil {
			m.add(d)
		}
	}
	out.Listeners = keepUnique(m, "listener", out.Listeners)
	out.Routes = keepUnique(m, "route", out.Routes)
	out.Clusters = keepUnique(m, "cluster", out.Clusters)
	return &out, m.problems
}

type objectKey struct{ kind, name string }

type merger struct {
	out      *Document
	first    map[objectKey]Pos
	twice    map[objectKey]bool
	broken   map[objectKey]bool
	problems Problems
}

func (m *merger) add(d *Document) {
	named := map[objectKey]bool{}
	for _, b := range d.Broken {
		key := objectKey{b.Kind, b.Name}
		if b.Name != "" && !named[key] { // twice in one document: reported when it was read
			m.see(key, b.Pos)
		}
		named[key] = true
		m.breaks(b)
	}
	see(m, "listener", d.Listeners)
	see(m, "route", d.Routes)
	see(m, "cluster", d.Clusters)
	m.out.Listeners = append(m.out.Listeners, d.Listeners...)
	m.out.Routes = append(m.out.Routes, d.Routes...)
	m.out.Clusters = append(m.out.Clusters, d.Clusters...)
	m.parts(d)
}

// breaks names an object in Broken, once; each of those without a name counts.
func (m *merger) breaks(b BrokenObject) {
	key := objectKey{b.Kind, b.Name}
	if b.Name == "" || !m.broken[key] {
		m.out.Broken = append(m.out.Broken, b)
	}
	m.broken[key] = true
}

func see[T any, P interface {
	*T
	object
}](m *merger, kind string, objects []T) {
	for i := range objects {
		o := P(&objects[i])
		m.see(objectKey{kind, o.name()}, o.origin().Pos)
	}
}

// see notes that an object stands at pos.
func (m *merger) see(key objectKey, pos Pos) {
	first, again := m.first[key]
	if !again {
		m.first[key] = pos
		return
	}
	m.twice[key] = true
	m.breaks(BrokenObject{Kind: key.kind, Name: key.name, Pos: first})
	m.problems = append(m.problems, Problem{
		Pos: pos, Severity: Error, Object: key.kind + " " + key.name,
		What: fmt.Sprintf("the %s %s stands here a second time, first at %v", key.kind, quote(key.name), first),
		Fix:  "rename or remove one; until then neither is used",
	})
}

// keepUnique takes out what stands twice.
func keepUnique[T any, P interface {
	*T
	object
}](m *merger, kind string, objects []T) []T {
	return slices.DeleteFunc(objects, func(o T) bool { return m.twice[objectKey{kind, P(&o).name()}] })
}

// parts takes over what is not a list. A part that stands in two documents is
// broken: the defaults stand in its place.
func (m *merger) parts(d *Document) {
	from, to := reflect.ValueOf(d).Elem(), reflect.ValueOf(m.out).Elem()
	defaults := reflect.ValueOf(Default[Document]())
	for _, f := range fieldsOf(from.Type()) {
		part := from.Field(f.index)
		origin, written := d.parts[f.key]
		if d.parts == nil { // made by a tool: a part that is not zero counts as written
			written = !part.IsZero()
		}
		if part.Kind() == reflect.Slice || !written {
			continue
		}
		first, again := m.out.parts[f.key]
		if !again {
			m.out.parts[f.key] = origin
			to.Field(f.index).Set(part)
			continue
		}
		to.Field(f.index).Set(defaults.Field(f.index))
		m.out.Broken = append(m.out.Broken, BrokenObject{Kind: f.key, Pos: first.Pos})
		m.problems = append(m.problems, Problem{
			Pos: origin.Pos, Severity: Error, Object: f.key,
			What: fmt.Sprintf("%s stands here a second time, first at %v", f.key, first.Pos),
			Fix:  "write all of it in one place",
		})
	}
}
