// Package compile turns documents into a snapshot: it checks everything that
// can be known without running, fills in references, and hashes.
//
// It is pure and deterministic: the same documents, files and environment give
// the same bytes; the clock is an input and judges certificates only. It
// resolves no name, opens no connection and runs nothing.
//
// An object (listener, route, cluster) is the unit of quarantine. With a
// previous snapshot, an object with errors keeps the version that it had there
// and stands in Snapshot.Held; without one, any error refuses the whole.
package compile

import (
	"slices"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/snapshot"
)

// Inputs is everything that a snapshot depends on.
type Inputs struct {
	// Documents are the files, decoded, in the order in which they were read.
	Documents []*config.Document
	// Problems are what reading and decoding found already. They come back
	// with those of Compile, and are the reason why a broken object is held.
	Problems config.Problems
	// Unknown are documents of which nothing could be decoded. Objects that
	// stood there in Previous are held, not removed.
	Unknown []string

	// Files reads a file that a document refers to; the path is already taken
	// relative to the document.
	Files func(path string) ([]byte, error)
	// Data does the same for a file that may be large; nil: Files does.
	Data func(path string) ([]byte, error)
	// Env is the environment (os.LookupEnv).
	Env     func(name string) (string, bool)
	Filters filter.Registry

	// Previous is the last good snapshot, nil at the start.
	Previous *snapshot.Snapshot
	Now      time.Time
}

// Compile makes a snapshot. Without Previous it is nil when there is an error
// among the problems; with Previous it is never nil, and what had errors is
// held. The problems are in the order of file, line and column.
func Compile(in Inputs) (*snapshot.Snapshot, config.Problems) {
	c := newCompiler(in)
	if c.nothingToServe() {
		return c.keepAll(), c.problems
	}
	c.compileObjects()
	c.holdBroken()
	c.checkAddresses()
	if len(c.listeners.chosen) == 0 && in.Previous != nil { // every new one is bad, or took the address of a held one
		return c.keepAll(), c.sorted()
	}
	c.checkReferences()
	c.settle()
	c.keepReferenced()
	c.warn()
	problems := c.sorted()
	if in.Previous == nil && problems.Errors() > 0 {
		return nil, problems
	}
	return c.snapshot(), problems
}

// settle holds, or refuses, what does not go together. What is held for one
// reason may not go with the rest for another, so that it begins again until
// nothing is left; each round holds or refuses at least one object more.
func (c *compiler) settle() {
	c.checkFit()
	for again := true; again; again = c.checkFit() {
		c.linkListeners()
		c.checkConflicts()
	}
}

// compiler is the state of one Compile, in the order of its steps.
type compiler struct {
	in       Inputs
	previous *snapshot.Snapshot // never nil; empty at the start
	doc      *config.Document   // all documents together
	problems config.Problems

	general   general
	listeners *set[snapshot.Listener]
	routes    *set[snapshot.Route]
	clusters  *set[snapshot.Cluster]
	audiences map[audience][]string // the listeners of routes that name none
}

func newCompiler(in Inputs) *compiler {
	c := &compiler{in: in, previous: in.Previous, problems: slices.Clone(in.Problems)}
	if c.previous == nil {
		c.previous = &snapshot.Snapshot{}
	}
	doc, problems := config.Merge(in.Documents...)
	if c.in.Data == nil {
		c.in.Data = c.in.Files
	}
	doc.ApplyDefaults() // for documents that tools made; parsed ones have them
	c.doc = doc
	c.problems = append(c.problems, problems...)
	c.listeners = newSet("listener", c.previous.Listeners, nameOfListener)
	c.routes = newSet("route", c.previous.Routes, nameOfRoute)
	c.clusters = newSet("cluster", c.previous.Clusters, nameOfCluster)
	c.audiences = map[audience][]string{}
	return c
}

func nameOfListener(l *snapshot.Listener) (string, *config.Origin) {
	return l.Spec.Name, &l.Spec.Origin
}
func nameOfRoute(r *snapshot.Route) (string, *config.Origin)     { return r.Spec.Name, &r.Spec.Origin }
func nameOfCluster(k *snapshot.Cluster) (string, *config.Origin) { return k.Spec.Name, &k.Spec.Origin }

// compileObjects makes every object by itself: nothing here looks at another
// object.
func (c *compiler) compileObjects() {
	c.compileGeneral()
	for i := range c.doc.Listeners {
		spec := &c.doc.Listeners[i]
		offer(c, c.listeners, spec.Name, &spec.Origin, func(r *config.Report) *snapshot.Listener {
			return c.listener(spec, r)
		})
	}
	for i := range c.doc.Clusters {
		spec := &c.doc.Clusters[i]
		offer(c, c.clusters, spec.Name, &spec.Origin, func(r *config.Report) *snapshot.Cluster {
			return c.cluster(spec, r)
		})
	}
	for i := range c.doc.Routes {
		spec := &c.doc.Routes[i]
		offer(c, c.routes, spec.Name, &spec.Origin, func(r *config.Report) *snapshot.Route {
			return c.route(spec, r)
		})
	}
}
