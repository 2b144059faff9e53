package route

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/pressure"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Entry is one route as the engine brings it.
type Entry struct {
	Route *snapshot.Route
	Label stream.Label
	// Service is the folded filters and the action of the route.
	Service stream.Service

	// What the Router needs of the route, at hand.
	certificate bool // the route requires one
	early       bool // it takes early data
	tunnel      stream.TunnelLimits
	sheds       pressure.Grades // those that refuse its requests
}

func (e *Entry) fill() {
	spec := &e.Route.Spec
	e.certificate, e.early = spec.ClientCertificate == "require", spec.EarlyData
	switch spec.Importance {
	case "low":
		e.sheds = 1<<pressure.Shed | 1<<pressure.Refuse
	case "high":
		e.sheds = pressure.Nothing
	default:
		e.sheds = 1 << pressure.Refuse
	}
	e.tunnel = stream.TunnelLimits{Idle: time.Duration(spec.Tunnel.Idle), Max: time.Duration(spec.Tunnel.Max)}
}

// Table finds the route of a request. It is immutable. It does not look at
// Route.Listeners: a listener has a table of the routes that it serves.
type Table struct {
	seed     maphash.Seed // one for a table and all that With made of it
	names    shared[*indexed]
	hosts    shared[*bucket] // exact hosts
	wild     shared[*bucket] // by what follows "*."
	wildSize tally           // of the keys of wild, in labels
	any      *bucket

	priorities tally
	routes     int
}

// Build makes a table. The order of entries has no influence.
func Build(entries []Entry) *Table {
	return (&Table{seed: maphash.MakeSeed()}).With(entries, nil)
}

// With is the table with some routes added or replaced by name, and others
// removed. It shares with t what did not change.
func (t *Table) With(changed []Entry, removed []string) *Table {
	next := *t
	next.wildSize, next.priorities = slices.Clone(t.wildSize), slices.Clone(t.priorities)
	e := new(edit)
	for _, name := range removed {
		next.remove(e, name)
	}
	for _, r := range indexAll(changed) {
		next.remove(e, r.name)
		next.insert(e, r)
	}
	return &next
}

// indexAll makes and orders the routes host by host, so that what a search reads
// together was allocated together: a search in a large table waits for memory
// and for little else. Within a host they are in order of precedence, so that
// ties grow at their ends.
func indexAll(entries []Entry) []*indexed {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(firstHost(a), firstHost(b)) })
	routes := make([]*indexed, len(entries))
	for i := range entries {
		routes[i] = index(entries[i])
	}
	slices.SortStableFunc(routes, func(a, b *indexed) int {
		return cmp.Or(strings.Compare(a.hosts[0], b.hosts[0]), inOrder(a, b))
	})
	return routes
}

func firstHost(e Entry) string {
	if hosts := e.Route.Match.Hosts; len(hosts) > 0 {
		return slices.Min(hosts)
	}
	return "*"
}

// Len is the number of routes.
func (t *Table) Len() int { return t.routes }

func (t *Table) insert(e *edit, r *indexed) {
	t.routes++
	t.priorities.add(r.priority)
	t.names.put(e, maphash.String(t.seed, r.name), r.name, r)
	for _, host := range r.hosts {
		if hostClass(host) == hostAny {
			t.any = t.any.insert(e, t.seed, r)
			continue
		}
		buckets, key := t.bucketsOf(host)
		hash := maphash.String(t.seed, key)
		b, known := buckets.get(hash, key)
		buckets.put(e, hash, key, b.insert(e, t.seed, r))
		if !known && buckets == &t.wild {
			t.wildSize.add(labels(key))
		}
	}
}

func (t *Table) remove(e *edit, name string) {
	hash := maphash.String(t.seed, name)
	r, ok := t.names.get(hash, name)
	if !ok {
		return
	}
	t.routes--
	t.priorities.remove(r.priority)
	t.names.drop(e, hash, name)
	for _, host := range r.hosts {
		if hostClass(host) == hostAny {
			t.any = t.any.remove(e, t.seed, r)
			continue
		}
		buckets, key := t.bucketsOf(host)
		hash := maphash.String(t.seed, key)
		b, _ := buckets.get(hash, key)
		if b = b.remove(e, t.seed, r); b != nil {
			buckets.put(e, hash, key, b)
			continue
		}
		buckets.drop(e, hash, key)
		if buckets == &t.wild {
			t.wildSize.remove(labels(key))
		}
	}
}

// bucketsOf is where a host that is not "*" stands, and under which key.
func (t *Table) bucketsOf(host string) (buckets *shared[*bucket], key string) {
	if hostClass(host) == hostWildcard {
		return &t.wild, host[len("*."):]
	}
	return &t.hosts, host
}

func labels(host string) int { return strings.Count(host, ".") + 1 }

// Size says what a table is made of. Regexes of one host are tried one after
// the other, so their number is what to watch.
type Size struct {
	Routes        int
	Hosts         int // exact ones
	Wildcards     int
	Regexes       int
	RegexesAtHost int // the most under one host
}

// Size goes over every host.
func (t *Table) Size() Size {
	s := Size{Routes: t.routes}
	add := func(b *bucket) {
		n := len(b.regexes.list())
		s.Regexes += n
		s.RegexesAtHost = max(s.RegexesAtHost, n)
	}
	t.hosts.each(func(_ string, b *bucket) { s.Hosts++; add(b) })
	t.wild.each(func(_ string, b *bucket) { s.Wildcards++; add(b) })
	if t.any != nil {
		add(t.any)
	}
	return s
}
