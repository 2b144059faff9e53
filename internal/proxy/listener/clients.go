package listener

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// connection is an open connection; prev and next belong to its shard.
type connection struct {
	nc         net.Conn
	facts      stream.Conn
	client     netip.Addr // the key it is counted under; zero for a Unix socket
	prev, next *connection
}

// numShards keeps connections that open and close at once from waiting for one
// lock. A power of two.
const numShards = 16

// clients holds the open connections and counts them per client.
type clients struct {
	max    atomic.Int64 // per client; 0: no limit
	seed   maphash.Seed
	shards [numShards]shard
}

// shard holds the connections of some clients. An entry of open is removed
// when it falls to 0, so the map is never larger than the number of
// connections.
type shard struct {
	mu   sync.Mutex
	open map[netip.Addr]int64
	head *connection
	_    [64]byte // shards that are used at once do not share a cache line
}

func (cs *clients) init() {
	cs.seed = maphash.MakeSeed()
	for i := range cs.shards {
		cs.shards[i].open = make(map[netip.Addr]int64)
	}
}

func (cs *clients) shard(c *connection) *shard {
	if !c.client.IsValid() {
		return &cs.shards[c.facts.ID%numShards]
	}
	return &cs.shards[maphash.Comparable(cs.seed, c.client)%numShards]
}

// enter adds a connection, unless its client has as many as it may.
func (cs *clients) enter(c *connection) bool {
	c.client = clientOf(c.facts.Remote.Addr())
	s := cs.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.client.IsValid() {
		n := s.open[c.client]
		if limit := cs.max.Load(); limit > 0 && n >= limit {
			return false
		}
		s.open[c.client] = n + 1
	}
	if c.next = s.head; c.next != nil {
		c.next.prev = c
	}
	s.head = c
	return true
}

func (cs *clients) leave(c *connection) {
	s := cs.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.client.IsValid() {
		if n := s.open[c.client]; n > 1 {
			s.open[c.client] = n - 1
		} else {
			delete(s.open, c.client)
		}
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

func (cs *clients) closeAll() {
	for i := range cs.shards {
		s := &cs.shards[i]
		s.mu.Lock()
		for c := s.head; c != nil; c = c.next {
			c.nc.Close()
		}
		s.mu.Unlock()
	}
}

// clientOf is what counts as one client: an IPv4 address, or the /64 of an
// IPv6 address, all of which one host may have.
func clientOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	prefix, err := a.Prefix(64)
	if err != nil { // not for a valid address
		return a
	}
	return prefix.Addr()
}
