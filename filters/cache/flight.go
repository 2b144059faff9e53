package cache

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/weirproxy/weir/filters/cache/store"
)

// flight is one fetch and all who wait for it.
type flight struct {
	key   store.Key
	slot  store.Key // of the table: the key, unless fetches are not shared
	url   string
	since uint64 // the log of purges when it began

	// ready is closed when the head is there; the next four are written before
	// and read after. Without an object, everybody goes to the upstream by
	// themselves.
	ready  chan struct{}
	object *object // what came, or what was confirmed
	filled *fill   // the content of object, if it is still on its way
	at     store.Key
	names  []string // of Vary

	// done is closed when the content is stored or given up; whole is the object
	// with its content then, or nil.
	done  chan struct{}
	whole *object

	mu     sync.Mutex
	people int  // who wants it before it is ready: the leader, and who waits
	left   bool // the leader did
	landed bool
	gone   bool
	cancel context.CancelFunc
}

// table are the flights of a route.
type table struct {
	shards [16]tableShard
}

type tableShard struct {
	mu      sync.Mutex
	flights map[store.Key]*flight
	alone   uint64 // numbers those that are not shared
}

// By the URL, so that a request that changes something finds what is being
// fetched from there.
func (t *table) shard(url string) *tableShard {
	h := uint32(2166136261)
	for i := range len(url) {
		h = (h ^ uint32(url[i])) * 16777619
	}
	return &t.shards[(h^h>>16)%uint32(len(t.shards))]
}

// enter joins the flight of that key, or begins it; lead says which. nil: there
// is one that cannot be joined any more, or may says that none may begin.
// Without share every flight is one of its own.
func (t *table) enter(key store.Key, url string, log *store.Log, share bool, may func() bool) (f *flight, lead bool) {
	s := t.shard(url)
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := key
	if !share {
		s.alone++
		slot = store.Key{}
		binary.BigEndian.PutUint64(slot[:], s.alone)
	}
	if f = s.flights[slot]; f != nil {
		if log.Since(f.since, url, nil, true) || !f.join() {
			return nil, false
		}
		return f, false
	}
	if !may() {
		return nil, false
	}
	if s.flights == nil {
		s.flights = map[store.Key]*flight{}
	}
	f = &flight{key: key, slot: slot, url: url, since: log.Now(), ready: make(chan struct{}), done: make(chan struct{}), people: 1}
	s.flights[slot] = f
	return f, true
}

// remove ends the flight in the table; those who have joined stay.
func (t *table) remove(f *flight) {
	s := t.shard(f.url)
	s.mu.Lock()
	if s.flights[f.slot] == f {
		delete(s.flights, f.slot)
	}
	s.mu.Unlock()
}

// fetching tells whether something of that URL is on its way.
func (t *table) fetching(url string) bool {
	s := t.shard(url)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flights {
		if f.url == url {
			return true
		}
	}
	return false
}

// len is the number of flights.
func (t *table) len() int {
	n := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].flights)
		t.shards[i].mu.Unlock()
	}
	return n
}

// join takes a place: that of somebody who waits, or of a reader.
func (f *flight) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.gone:
		return false
	case !f.landed:
		f.people++
		return true
	case f.filled != nil:
		return f.filled.join()
	}
	return true
}

// leave gives a place up. When nobody is left before the response is there, the
// fetch ends.
func (f *flight) leave() {
	f.mu.Lock()
	if f.landed {
		filled := f.filled
		f.mu.Unlock()
		if filled != nil {
			filled.leave()
		}
		return
	}
	f.people--
	f.gone = f.people == 0
	gone, cancel := f.gone, f.cancel
	f.mu.Unlock()
	if gone && cancel != nil {
		cancel()
	}
}

// leaderLeaves gives the place of the leader up: its client is gone.
func (f *flight) leaderLeaves() {
	f.mu.Lock()
	over := f.landed || f.left
	f.left = true
	f.mu.Unlock()
	if !over {
		f.leave()
	}
}

// board hands the end of the fetch over; it is used at once when everybody has
// left already.
func (f *flight) board(cancel context.CancelFunc) {
	f.mu.Lock()
	f.cancel = cancel
	gone := f.gone
	f.mu.Unlock()
	if gone {
		cancel()
	}
}

// land makes the outcome known. Those who wait have a place in filled from now
// on, besides that of the leader, so that it goes on when the leader leaves.
func (f *flight) land(o *object, filled *fill, at store.Key, names []string) {
	f.mu.Lock()
	f.object, f.filled, f.at, f.names = o, filled, at, names
	f.landed = true
	waiting := f.people
	if !f.left {
		waiting--
	}
	if filled != nil {
		filled.readers += waiting // nobody else knows it yet
	}
	f.mu.Unlock()
	close(f.ready)
}

// settle says what became of the content.
func (f *flight) settle(whole *object) {
	f.whole = whole
	close(f.done)
}
