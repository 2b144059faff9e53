package scenario

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// upstream plays the parts of a script, one per connection, in the order in
// which they are accepted.
type upstream struct {
	ln    net.Listener
	parts []part
	words *words

	mu      sync.Mutex
	next    int
	err     error // the first part that went wrong
	running int
	open    map[net.Conn]bool
	moved   chan struct{} // replaced and closed when a part begins or ends
}

func startUpstream(ln net.Listener, source string, w *words) (*upstream, error) {
	parts, err := parse(source)
	if err != nil {
		return nil, err
	}
	u := &upstream{ln: ln, parts: parts, words: w, open: map[net.Conn]bool{}, moved: make(chan struct{})}
	go u.accept()
	return u, nil
}

func (u *upstream) accept() {
	for {
		conn, err := u.ln.Accept()
		if err != nil {
			return
		}
		p, ok := u.begin(conn)
		if !ok {
			conn.Close()
			continue
		}
		go func() {
			err := p.play(conn, u.words)
			conn.Close()
			u.end(conn, err)
		}()
	}
}

// begin picks the part for a new connection.
func (u *upstream) begin(conn net.Conn) (part, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.move()
	if u.next >= len(u.parts) {
		if u.err == nil {
			u.err = fmt.Errorf("connection %d: the script has only %d", u.next+1, len(u.parts))
		}
		return part{}, false
	}
	p := u.parts[u.next]
	if !p.again {
		u.next++
	}
	u.running++
	u.open[conn] = true
	return p, true
}

func (u *upstream) end(conn net.Conn, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, conn)
	u.running--
	if err != nil && u.err == nil {
		u.err = err
	}
	u.move()
}

func (u *upstream) move() {
	close(u.moved)
	u.moved = make(chan struct{})
}

// wait returns when every part was played to its end.
func (u *upstream) wait() error {
	late := time.After(2 * patience) // each part ends within patience
	for {
		u.mu.Lock()
		err, moved, came := u.err, u.moved, u.next
		missing := u.next < len(u.parts) && !u.parts[u.next].again
		over := u.running == 0 && !missing
		u.mu.Unlock()
		if err != nil || over {
			return err
		}
		select {
		case <-moved:
		case <-late:
			return fmt.Errorf("%d of %d connections came, and not all have ended", came, len(u.parts))
		}
	}
}

func (u *upstream) close() {
	u.ln.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	for conn := range u.open {
		conn.Close()
	}
}
