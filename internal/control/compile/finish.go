package compile

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// snapshot gathers what was chosen, hashes it and numbers it.
func (c *compiler) snapshot() *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Admin: c.general.admin, AccessLog: c.general.accessLog, Metrics: c.general.metrics,
		Redact: c.general.redact, Geo: c.general.geo, Places: c.general.places, Overload: c.general.overload, Drain: c.general.drain,
		Listeners: c.listeners.sorted(), Routes: c.routes.sorted(), Clusters: c.clusters.sorted(),
	}
	for _, l := range s.Listeners {
		l.Hash = snapshot.Hash{}
		l.Hash = hashOf(l)
	}
	for _, r := range s.Routes {
		r.Hash = snapshot.Hash{}
		r.Hash = hashOf(r)
	}
	for _, k := range s.Clusters {
		k.Hash = snapshot.Hash{}
		k.Hash = hashOf(k)
	}
	s.Hash = hashOf(contentOf(s))
	s.Number = c.previous.Number
	if s.Hash != c.previous.Hash {
		s.Number++
	}
	s.Held = c.heldObjects()
	return s
}

// keepAll is the last good state with everything in it held; nil at the start.
func (c *compiler) keepAll() *snapshot.Snapshot {
	if c.in.Previous == nil {
		return nil
	}
	kept := *c.in.Previous
	kept.Held = nil
	why := slices.DeleteFunc(slices.Clone(c.problems), func(p config.Problem) bool { return p.Severity != config.Error })
	for _, l := range kept.Listeners {
		kept.Held = append(kept.Held, snapshot.Held{Kind: "listener", Name: l.Spec.Name, Problems: why})
	}
	for _, r := range kept.Routes {
		kept.Held = append(kept.Held, snapshot.Held{Kind: "route", Name: r.Spec.Name, Problems: why})
	}
	for _, k := range kept.Clusters {
		kept.Held = append(kept.Held, snapshot.Held{Kind: "cluster", Name: k.Spec.Name, Problems: why})
	}
	return &kept
}

// content is what the hash of a snapshot is made of.
type content struct {
	Admin     config.Admin
	AccessLog config.AccessLog
	Metrics   config.Metrics
	Redact    config.Redact
	Geo       config.Geo
	Places    snapshot.Hash
	Overload  config.Overload
	Drain     config.Drain
	Objects   []snapshot.Hash // in the order of the snapshot; they hold kinds and names
}

func contentOf(s *snapshot.Snapshot) content {
	all := content{Admin: s.Admin, AccessLog: s.AccessLog, Metrics: s.Metrics, Redact: s.Redact, Geo: s.Geo, Places: s.Places.Sum(), Overload: s.Overload, Drain: s.Drain}
	for _, l := range s.Listeners {
		all.Objects = append(all.Objects, l.Hash)
	}
	for _, r := range s.Routes {
		all.Objects = append(all.Objects, r.Hash)
	}
	for _, k := range s.Clusters {
		all.Objects = append(all.Objects, k.Hash)
	}
	return all
}

// heldObjects lists what is held, each with the problems that say why.
func (c *compiler) heldObjects() []snapshot.Held {
	why := reasons{byObject: map[string]config.Problems{}, byFile: map[string]config.Problems{}}
	for _, p := range c.problems {
		why.byObject[p.Object] = append(why.byObject[p.Object], p)
		if p.Severity == config.Error {
			why.byFile[p.Pos.File] = append(why.byFile[p.Pos.File], p)
		}
	}
	var held []snapshot.Held
	for _, part := range c.general.held {
		held = append(held, snapshot.Held{Kind: part, Problems: why.byObject[part]})
	}
	held = append(held, heldOf(c.listeners, why)...)
	held = append(held, heldOf(c.routes, why)...)
	return append(held, heldOf(c.clusters, why)...)
}

// sorted puts the problems in the order of file, line and column; those
// of one place stay in the order in which they were found.
func (c *compiler) sorted() config.Problems {
	slices.SortStableFunc(c.problems, func(a, b config.Problem) int {
		if d := strings.Compare(a.Pos.File, b.Pos.File); d != 0 {
			return d
		}
		if d := a.Pos.Line - b.Pos.Line; d != 0 {
			return d
		}
		return a.Pos.Col - b.Pos.Col
	})
	return c.problems
}
