package scenario

import (
	"fmt"
	"net"
	"sync"
)

// upstream plays the parts of a script, one per connection, in the order in
// which they are accepted.
type upstream struct {
	ln    net.Listener
	parts []part
	words *words

	mu       sync.Mutex
	next     int
	err      error // the first part that went wrong
	finished *sync.Cond
	running  int
	open     map[net.Conn]bool
}

func startUpstream(ln net.Listener, source string, w *words) (*upstream, error) {
	parts, err := parse(source)
	if err != nil {
		return nil, err
	}
	u := &upstream{ln: ln, parts: parts, words: w, open: map[net.Conn]bool{}}
	u.finished = sync.NewCond(&u.mu)
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
	u.finished.Broadcast()
}

// wait returns when every part was played to its end.
func (u *upstream) wait() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.running > 0 && u.err == nil {
		u.finished.Wait() // each part ends within patience
	}
	if u.err != nil {
		return u.err
	}
	if u.next < len(u.parts) && !u.parts[u.next].again {
		return fmt.Errorf("%d of %d connections came", u.next, len(u.parts))
	}
	return nil
}

func (u *upstream) close() {
	u.ln.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	for conn := range u.open {
		conn.Close()
	}
}
