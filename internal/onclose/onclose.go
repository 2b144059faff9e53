// Package onclose tells when a body is closed, and leaves it what it is: bytes in
// memory, a tunnel, a socket. Filters use it for what lasts as long as a
// response does.
package onclose

import (
	"net"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// Body is b, whose first Close also calls done.
func Body(b stream.Body, done func()) stream.Body {
	switch d := b.(type) {
	case stream.Socketed:
		return &socketed{duplex{d, once{done: done}}}
	case stream.Duplex:
		return &duplex{d, once{done: done}}
	}
	return &body{b, once{done: done}}
}

type once struct {
	done  func()
	ended atomic.Bool
}

func (o *once) end() {
	if !o.ended.Swap(true) {
		o.done()
	}
}

type body struct {
	stream.Body
	once
}

var (
	_ stream.Prefetcher = (*body)(nil)
	_ stream.Announcer  = (*body)(nil)
	_ stream.Awaiter    = (*body)(nil)
	_ stream.Awaiter    = (*duplex)(nil)
	_ stream.Socketed   = (*socketed)(nil)
)

func (b *body) Close() error {
	defer b.end()
	return b.Body.Close()
}

func (b *body) Bytes() ([]byte, bool) {
	if whole, ok := b.Body.(stream.Whole); ok {
		return whole.Bytes()
	}
	return nil, false
}

func (b *body) Prefetch(limit int) error {
	if p, ok := b.Body.(stream.Prefetcher); ok {
		return p.Prefetch(limit)
	}
	return nil
}

func (b *body) Announced() string {
	if a, ok := b.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

func (b *body) Await() error { return await(b.Body) }

type duplex struct {
	stream.Duplex
	once
}

func (d *duplex) Close() error {
	defer d.end()
	return d.Duplex.Close()
}

func (d *duplex) Await() error { return await(d.Duplex) }

type socketed struct{ duplex }

func (s *socketed) Socket() net.Conn { return s.Duplex.(stream.Socketed).Socket() }

func await(b stream.Body) error {
	if a, ok := b.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}
