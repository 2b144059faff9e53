// Package filter is the contract between the proxy and a filter: a folder that
// holds its settings, its check and its code, and one Define literal that
// names them. There is no registration at start-up; a list of Definitions is
// passed to NewRegistry.
package filter

import (
	"fmt"
	"sort"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// Stage says what a filter is for. Filters of a route run in the order in
// which the document lists them; weir check warns when an earlier stage stands
// behind a later one (an authentication behind a rewrite).
type Stage uint8

// The stages, outermost first.
const (
	Protect   Stage = iota // refuses: authentication, limits, policy
	Transform              // changes request or response
	Answer                 // answers itself: cache, fixed response
)

// Status says how far a filter may be relied on.
type Status string

// The statuses.
const (
	Stable       Status = "stable"
	Experimental Status = "experimental"
)

// Trust says what input a filter is built to withstand.
type Trust string

// The trust postures.
const (
	HostileBoth       Trust = "untrusted downstream and upstream"
	HostileDownstream Trust = "untrusted downstream"
)

// Spec describes a filter with settings of type C.
type Spec[C any] struct {
	Name   string
	Stage  Stage
	Status Status
	Trust  Trust
	Readme string // its README.md, embedded; the reference page is made from it
	// Default is the settings that the document's are decoded over.
	Default func() C
	// Check reports what is wrong with the settings. It is pure.
	Check func(settings *C, report *config.Report)
	// Load, which may be nil, reads the files that settings refer to and keeps
	// what it needs of them in fields of settings that are not decoded
	// (yaml:"-"); these count as content. It runs after Check and is pure.
	Load func(settings *C, read Reader, report *config.Report)
	// Clusters, which may be nil, are the clusters that settings refer to. One
	// that is not there, or not as a Reference demands, is refused, and Env.Cluster
	// has them all.
	Clusters func(settings *C) []Reference
	// Keys, which may be nil, are the values of requests that settings name: one
	// that nobody has found out by then is refused.
	Keys func(settings *C) []Key
	// Claims: requests behind this filter may have a Caller with claims.
	Claims bool
	// Calls: this filter makes gRPC calls of requests. Clusters behind it that do
	// not speak HTTP/2 are refused.
	Calls bool
	// Build makes the filter around next. It runs once per route and
	// generation; settings have passed Check.
	Build func(settings C, env Env, next stream.Service) (stream.Service, error)
}

// Reader reads a file that a document refers to; the path is taken relative to
// the document. The file is watched, and its size is bounded.
type Reader func(path string) ([]byte, error)

// Definition is a Spec without its type parameter.
type Definition struct {
	Name   string
	Stage  Stage
	Status Status
	Trust  Trust
	Readme string
	// Settings is a pointer to the default settings, for the reference and the schema.
	Settings any
	// Decode reads settings over the default, checks them and loads what they
	// refer to. The result is nil when the report has errors.
	Decode func(node config.Node, read Reader, report *config.Report) any
	// Clusters are the clusters that settings, which Decode returned, refer to;
	// nil: none ever.
	Clusters func(settings any) []Reference
	// Keys are the values of requests that settings, which Decode returned, name;
	// nil: none ever.
	Keys func(settings any) []Key
	// Claims: requests behind the filter may have claims.
	Claims bool
	// Calls: the filter makes gRPC calls of requests.
	Calls bool
	// Build makes the filter of settings that Decode returned.
	Build func(settings any, env Env, next stream.Service) (stream.Service, error)
}

// Define makes a Definition of a Spec.
func Define[C any](s Spec[C]) Definition {
	defaults := s.Default()
	return Definition{
		Name: s.Name, Stage: s.Stage, Status: s.Status, Trust: s.Trust, Readme: s.Readme,
		Settings: &defaults, Claims: s.Claims, Calls: s.Calls,
		Decode: func(node config.Node, read Reader, report *config.Report) any {
			settings := s.Default()
			if !node.Decode(&settings, report) {
				return nil
			}
			clean := true
			if s.Check(&settings, report.Watch(&clean)); clean && s.Load != nil {
				s.Load(&settings, read, report.Watch(&clean))
			}
			if !clean {
				return nil
			}
			return settings
		},
		Clusters: func(settings any) []Reference {
			own, ok := settings.(C)
			if !ok || s.Clusters == nil {
				return nil
			}
			return s.Clusters(&own)
		},
		Keys: func(settings any) []Key {
			own, ok := settings.(C)
			if !ok || s.Keys == nil {
				return nil
			}
			return s.Keys(&own)
		},
		Build: func(settings any, env Env, next stream.Service) (stream.Service, error) {
			own, ok := settings.(C)
			if !ok {
				return nil, fmt.Errorf("filter %s: settings are %T, not %T", s.Name, settings, own)
			}
			return s.Build(own, env, next)
		},
	}
}

// References are the clusters that settings, which Decode returned, refer to.
func (d Definition) References(settings any) []Reference {
	if d.Clusters == nil || settings == nil {
		return nil
	}
	return d.Clusters(settings)
}

// Registry is the set of filters of a binary. It is a value that is passed
// along, never a variable of a package.
type Registry struct {
	byName map[string]Definition
}

// NewRegistry panics when two definitions share a name: a defect of the binary.
func NewRegistry(definitions ...Definition) Registry {
	r := Registry{byName: make(map[string]Definition, len(definitions))}
	for _, d := range definitions {
		if _, taken := r.byName[d.Name]; taken {
			panic("filter: two definitions are named " + d.Name)
		}
		r.byName[d.Name] = d
	}
	return r
}

// Lookup finds a definition.
func (r Registry) Lookup(name string) (Definition, bool) {
	d, ok := r.byName[name]
	return d, ok
}

// Names lists all filters, sorted.
func (r Registry) Names() []string {
	names := make([]string, 0, len(r.byName))
	for name := range r.byName {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
