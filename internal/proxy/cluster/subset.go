package cluster

import (
	"sync"
	"sync/atomic"
	"weak"

	"github.com/weirproxy/weir/internal/endpoint"
)

// subset is the endpoints that a route chooses by their labels. When none has
// them the subset is empty, and the request finds no endpoint: what a label keeps
// apart is not mixed because nothing is left on one side.
type subset struct {
	by  endpoint.Selector
	set atomic.Pointer[endpoint.Set]
}

// subsets are those of all routes, made when the endpoints change and not when a
// request comes. Routes that choose the same share one; the last of them that goes
// takes it along.
type subsets struct {
	mu  sync.Mutex
	all map[string]weak.Pointer[subset] // by Selector.Key. Guarded by mu
}

// choose is the subset with these labels; nil: the whole set.
func (c *Cluster) choose(labels map[string]string) *subset {
	if len(labels) == 0 {
		return nil
	}
	by := endpoint.NewSelector(labels)
	c.subsets.mu.Lock()
	defer c.subsets.mu.Unlock()
	if known := c.subsets.all[by.Key()].Value(); known != nil {
		return known
	}
	s := &subset{by: by}
	c.divide(s, c.set.Load())
	if c.subsets.all == nil {
		c.subsets.all = map[string]weak.Pointer[subset]{}
	}
	c.subsets.all[by.Key()] = weak.Make(s)
	return s
}

// divide gives s its part of the whole set.
func (c *Cluster) divide(s *subset, whole *endpoint.Set) {
	part := whole.Subset(s.by)
	c.prepare(part)
	s.set.Store(part)
}

func (c *Cluster) prepare(set *endpoint.Set) {
	if p, ok := c.picker.(interface{ Prepare(set *endpoint.Set) }); ok {
		p.Prepare(set)
	}
}

// endpoints is the set that requests of the route choose from now.
func (s *service) endpoints() *endpoint.Set {
	if s.subset == nil {
		return s.cluster.set.Load()
	}
	return s.subset.set.Load()
}
