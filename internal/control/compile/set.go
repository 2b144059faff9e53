package compile

import (
	"maps"
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// set is the objects of one kind on their way into the snapshot. A name is in
// exactly one state: chosen (new), chosen and held (its last good version), or
// refused (bad and without such a version).
type set[T any] struct {
	kind     string
	describe func(*T) (name string, origin *config.Origin)
	previous map[string]*T
	order    []string // the names of the document, in its order, bad ones included
	chosen   map[string]*T
	held     map[string]bool
	because  map[string]string // held for something else than its own problems: a file, or an object
	refused  map[string]bool
	bad      []string // did not compile; holdBroken decides
}

func newSet[T any](kind string, previous []*T, describe func(*T) (string, *config.Origin)) *set[T] {
	s := &set[T]{
		kind: kind, describe: describe, previous: make(map[string]*T, len(previous)),
		chosen: map[string]*T{}, held: map[string]bool{}, because: map[string]string{}, refused: map[string]bool{},
	}
	for _, object := range previous {
		name, _ := describe(object)
		s.previous[name] = object
	}
	return s
}

// offer makes one object of the document; when its report has an error, the
// object is bad.
func offer[T any](c *compiler, s *set[T], name string, origin *config.Origin, build func(*config.Report) *T) {
	s.order = append(s.order, name)
	clean := true
	report := config.NewReport(s.kind+" "+name, origin.At, &c.problems).Watch(&clean)
	object := build(report)
	if !clean {
		s.bad = append(s.bad, name)
		return
	}
	s.chosen[name] = object
}

// hold puts the last good version in the place of a bad object, or refuses the
// object when there is none.
func (s *set[T]) hold(name string) {
	last, ok := s.previous[name]
	if !ok {
		s.refuse(name)
		return
	}
	copied := *last // steps that follow may fill in references anew
	s.chosen[name] = &copied
	s.held[name] = true
}

func (s *set[T]) refuse(name string) {
	delete(s.chosen, name)
	delete(s.held, name)
	s.refused[name] = true
}

// holdMissing holds what stood in a file and is in no document now.
func (s *set[T]) holdMissing(file string) {
	for _, name := range slices.Sorted(maps.Keys(s.previous)) {
		_, origin := s.describe(s.previous[name])
		if _, there := s.chosen[name]; !there && origin.Pos.File == file {
			s.hold(name)
			s.because[name] = file
		}
	}
}

// fresh lists the names of the document that are chosen and not held, in its order.
func (s *set[T]) fresh() []string {
	var names []string
	for _, name := range s.order {
		if s.chosen[name] != nil && !s.held[name] {
			names = append(names, name)
		}
	}
	return names
}

// names lists all chosen names, sorted.
func (s *set[T]) names() []string { return slices.Sorted(maps.Keys(s.chosen)) }

func (s *set[T]) sorted() []*T {
	list := make([]*T, 0, len(s.chosen))
	for _, name := range s.names() {
		list = append(list, s.chosen[name])
	}
	return list
}

// report is for a problem of a chosen object that shows only beside others.
func (s *set[T]) report(c *compiler, name string) *config.Report {
	_, origin := s.describe(s.chosen[name])
	return config.NewReport(s.kind+" "+name, origin.At, &c.problems)
}

// holdBroken holds, or refuses, what did not decode or compile.
func (c *compiler) holdBroken() {
	for _, name := range c.listeners.bad {
		c.listeners.hold(name)
	}
	for _, name := range c.routes.bad {
		c.routes.hold(name)
	}
	for _, name := range c.clusters.bad {
		c.clusters.hold(name)
	}
	for _, broken := range c.doc.Broken {
		switch broken.Kind {
		case c.listeners.kind:
			holdOne(c.listeners, broken)
		case c.routes.kind:
			holdOne(c.routes, broken)
		case c.clusters.kind:
			holdOne(c.clusters, broken)
		default:
			c.general.hold(broken.Kind, c.previous)
		}
	}
	for _, file := range c.in.Unknown {
		c.listeners.holdMissing(file)
		c.routes.holdMissing(file)
		c.clusters.holdMissing(file)
	}
	if len(c.in.Unknown) > 0 && c.in.Previous != nil {
		c.general.holdUnwritten(c.previous)
	}
}

// holdOne holds a broken object. When not even its name is known, it may be
// any that is missing from its file.
func holdOne[T any](s *set[T], broken config.BrokenObject) {
	switch {
	case broken.Name == "":
		s.holdMissing(broken.Pos.File)
	case s.chosen[broken.Name] == nil:
		s.hold(broken.Name)
	}
}

// reasons are the problems by the object, and by the file, that they belong to.
type reasons struct{ byObject, byFile map[string]config.Problems }

// heldOf lists what is held, with the problems that say why.
func heldOf[T any](s *set[T], why reasons) []snapshot.Held {
	var held []snapshot.Held
	for _, name := range s.names() {
		if !s.held[name] {
			continue
		}
		problems := why.byObject[s.kind+" "+name]
		if cause, elsewhere := s.because[name]; elsewhere {
			problems = slices.Concat(why.byObject[cause], why.byFile[cause])
		}
		held = append(held, snapshot.Held{Kind: s.kind, Name: name, Problems: problems})
	}
	return held
}
