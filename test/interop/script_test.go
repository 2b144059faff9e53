package interop

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// peer is the upstream's side of one exchange. Each version of HTTP speaks the
// same few verbs, so that a script is written once.
type peer interface {
	// head sends a status and, unless length is negative, a Content-Length.
	head(status, length int)
	// data sends content in one piece.
	data(content string)
	// end ends the response in order.
	end()
	// reset breaks it off: HTTP/1 resets the connection, the others the stream.
	reset()
	// hangUp ends the connection, in order as far as TCP and QUIC go.
	hangUp()
	// gone is closed once the client has given the exchange up.
	gone() <-chan struct{}
}

// play is one run of a script.
type play struct {
	peer
	met  <-chan struct{} // closed once the client has what was sent
	stop <-chan struct{} // closed at the end of the test
}

// What scripted upstreams say.
const (
	declared = 1000
	half     = declared / 2
)

// scripts are what upstreams do, however wrong it is, by the last segment of
// the path. A break inside a body waits until the client has what came before:
// a reset may overtake it anywhere on the way.
var scripts = map[string]func(p play){
	"reset-first":     func(p play) { p.reset() },
	"hang-up-first":   func(p play) { p.hangUp() },
	"stall-first":     func(p play) { p.wait(p.gone()) },
	"reset-inside":    func(p play) { p.begin(declared); p.reset() },
	"hang-up-inside":  func(p play) { p.begin(declared); p.hangUp() },
	"stall-inside":    func(p play) { p.begin(declared); p.wait(p.gone()) },
	"reset-unknown":   func(p play) { p.begin(-1); p.reset() },
	"hang-up-unknown": func(p play) { p.begin(-1); p.hangUp() },
	"lies-more":       func(p play) { p.begin(declared); p.end() },
	"lies-less":       func(p play) { p.head(200, half); p.data(part(declared)); p.end() },
	"odd-status":      func(p play) { p.head(99, 0); p.end() },
}

// part is n bytes of content.
func part(n int) string { return strings.Repeat("part", n/4) }

// begin sends half of a response and waits until the client has it.
func (p play) begin(length int) {
	p.head(200, length)
	p.data(part(half))
	p.wait(p.met)
}

func (p play) wait(event <-chan struct{}) {
	select {
	case <-event:
	case <-p.stop:
	}
}

// theatre is where the scripts run.
type theatre struct {
	trust *trust
	stop  chan struct{}

	mu       sync.Mutex
	meetings map[string]chan struct{}
}

// meeting is where the two ends of an exchange wait for each other; the path
// names it.
func (th *theatre) meeting(path string) chan struct{} {
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.meetings == nil {
		th.meetings = map[string]chan struct{}{}
	}
	if th.meetings[path] == nil {
		th.meetings[path] = make(chan struct{})
	}
	return th.meetings[path]
}

// run runs the script that a path names.
func (th *theatre) run(path string, p peer) {
	if script := scripts[last(path)]; script != nil {
		script(play{peer: p, met: th.meeting(path), stop: th.stop})
		return
	}
	p.head(404, 0)
	p.end()
}

// perform runs a scripted upstream of the kind and returns its address.
func (th *theatre) perform(t testing.TB, u upstream) string {
	t.Helper()
	if u.h3 {
		return th.performHTTP3(t)
	}
	ln := listen(t)
	conns := connections{open: map[net.Conn]bool{}}
	serve := th.performHTTP1
	if u.version == "HTTP/2.0" {
		serve = th.performHTTP2
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			conns.add(nc)
			running.Go(func() {
				defer conns.end(nc)
				serve(u.secured(th.trust, nc), nc.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.endAll()
		running.Wait()
	})
	return ln.Addr().String()
}

// connections are those that a server has open.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	over bool
}

func (c *connections) add(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[nc] = true; c.over {
		nc.Close()
	}
}

func (c *connections) end(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, nc)
	nc.Close()
}

func (c *connections) endAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for nc := range c.open {
		nc.Close()
	}
}
