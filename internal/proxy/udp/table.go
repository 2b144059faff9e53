package udp

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

// numShards keeps sessions that end from waiting for the reader. A power of two.
const numShards = 16

// table holds the open sessions by the addresses of both ends, and counts
// them per client.
type table struct {
	seed   maphash.Seed
	shards [numShards]shard
}

type shard struct {
	mu       sync.Mutex
	sessions map[tuple]*session
	clients  map[netip.Addr]int // an entry is removed when it falls to 0
	_        [64]byte           // shards that are used at once do not share a cache line
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].sessions = make(map[tuple]*session)
		t.shards[i].clients = make(map[netip.Addr]int)
	}
}

// shard is that of a client, whatever its port.
func (t *table) shard(client netip.Addr) *shard {
	return &t.shards[maphash.Comparable(t.seed, client)%numShards]
}

// clientOf is the key under which the sessions of a client are counted: its
// address, or the /64 of an IPv6 address, of which one machine has all.
func clientOf(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (t *table) find(who tuple) *session {
	s := t.shard(clientOf(who.from.Addr()))
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[who]
}

// add adds a session, unless its client has as many as it may.
func (t *table) add(x *session, maxPerClient int) bool {
	client := clientOf(x.who.from.Addr())
	s := t.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if maxPerClient > 0 && s.clients[client] >= maxPerClient {
		return false
	}
	s.clients[client]++
	s.sessions[x.who] = x
	return true
}

func (t *table) remove(x *session) {
	client := clientOf(x.who.from.Addr())
	s := t.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, x.who)
	if s.clients[client]--; s.clients[client] == 0 {
		delete(s.clients, client)
	}
}

// each calls do for every session, without a lock held.
func (t *table) each(do func(*session)) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		list := make([]*session, 0, len(s.sessions))
		for _, x := range s.sessions {
			list = append(list, x)
		}
		s.mu.Unlock()
		for _, x := range list {
			do(x)
		}
	}
}
