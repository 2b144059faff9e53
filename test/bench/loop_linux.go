//go:build linux

package main

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// load is one measurement: conns clients in a closed loop against target, and
// the canned upstream that the proxy asks.
type load struct {
	target      *unix.SockaddrInet4
	upstream    *unix.SockaddrInet4
	conns       int
	request     []byte
	response    []byte // what the upstream answers, head and body
	bodyBytes   int    // of the response, to check what the client got
	closeEach   bool   // a new connection for every request
	warm        time.Duration
	measure     time.Duration
	afterWarmup func()
}

// outcome is what the loop saw during the measured time.
type outcome struct {
	requests  int64
	errors    int64
	elapsed   time.Duration
	latencies *latencies
}

const (
	kindClient = iota
	kindUpstream
	kindListener
)

// peer is one connection of the loop: a client, or an upstream connection
// that the proxy opened.
type peer struct {
	fd       int
	kind     int
	in       []byte // head not complete yet
	left     int    // body bytes still to come; -1 while reading a head
	out      []byte // not written yet
	sent     time.Time
	writable bool // EPOLLOUT is asked for
}

// loop is single threaded: it owns every connection.
type loop struct {
	load
	ep       int
	peers    map[int]*peer
	buf      []byte
	out      outcome
	counting bool
	now      time.Time
}

// run drives the load to its end.
func run(l load) (outcome, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return outcome{}, fmt.Errorf("epoll_create: %w", err)
	}
	lp := &loop{load: l, ep: ep, peers: map[int]*peer{}, buf: make([]byte, 1<<18)}
	lp.out.latencies = new(latencies)
	defer lp.close()
	if err := lp.listen(); err != nil {
		return outcome{}, err
	}
	for range l.conns {
		if err := lp.dial(); err != nil {
			return outcome{}, err
		}
	}
	return lp.drive()
}

func (lp *loop) close() {
	for fd := range lp.peers {
		_ = unix.Close(fd)
	}
	_ = unix.Close(lp.ep)
}

func (lp *loop) drive() (outcome, error) {
	events := make([]unix.EpollEvent, 512)
	start := time.Now()
	measureFrom := start.Add(lp.warm)
	end := measureFrom.Add(lp.measure)
	for {
		n, err := unix.EpollWait(lp.ep, events, 100)
		if err != nil && err != unix.EINTR {
			return outcome{}, fmt.Errorf("epoll_wait: %w", err)
		}
		lp.now = time.Now()
		if !lp.counting && lp.now.After(measureFrom) {
			lp.counting = true
			measureFrom = lp.now
			lp.afterWarmup()
		}
		if lp.now.After(end) {
			lp.out.elapsed = lp.now.Sub(measureFrom)
			return lp.out, nil
		}
		for i := range max(n, 0) {
			if p := lp.peers[int(events[i].Fd)]; p != nil {
				lp.handle(p, events[i].Events)
			}
		}
	}
}

func (lp *loop) listen() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, lp.upstream); err != nil {
		return fmt.Errorf("bind upstream: %w", err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return err
	}
	return lp.add(&peer{fd: fd, kind: kindListener}, unix.EPOLLIN)
}

func (lp *loop) add(p *peer, events uint32) error {
	lp.peers[p.fd] = p
	return unix.EpollCtl(lp.ep, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: events, Fd: int32(p.fd)})
}

func (lp *loop) dial() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if lp.closeEach { // no TIME_WAIT on the client side: the ports would run out
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err := unix.Connect(fd, lp.target); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	p := &peer{fd: fd, kind: kindClient, left: -1, out: lp.request, sent: time.Now(), writable: true}
	return lp.add(p, unix.EPOLLIN|unix.EPOLLOUT)
}

func (lp *loop) handle(p *peer, events uint32) {
	switch p.kind {
	case kindListener:
		lp.accept(p)
		return
	case kindClient:
		if events&(unix.EPOLLERR) != 0 {
			lp.lost(p)
			return
		}
	}
	if events&unix.EPOLLOUT != 0 && !lp.flush(p) {
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP) != 0 {
		lp.read(p)
	}
}

func (lp *loop) accept(l *peer) {
	for {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := lp.add(&peer{fd: fd, kind: kindUpstream, left: -1}, unix.EPOLLIN); err != nil {
			_ = unix.Close(fd)
		}
	}
}

func (lp *loop) drop(p *peer) {
	delete(lp.peers, p.fd)
	_ = unix.Close(p.fd)
}

// lost counts a client whose connection broke and replaces it.
func (lp *loop) lost(p *peer) {
	lp.drop(p)
	if lp.counting {
		lp.out.errors++
	}
	_ = lp.dial()
}

func (lp *loop) read(p *peer) {
	for {
		n, err := unix.Read(p.fd, lp.buf)
		if err == unix.EAGAIN || err == unix.EINTR {
			return
		}
		if n <= 0 {
			if p.kind == kindClient {
				lp.lost(p)
			} else {
				lp.drop(p)
			}
			return
		}
		if !lp.consume(p, lp.buf[:n]) {
			return
		}
		if n < len(lp.buf) {
			return
		}
	}
}

var (
	headEnd  = []byte("\r\n\r\n")
	lengthOf = []byte("\r\ncontent-length:")
)

// consume advances the message that p reads; false when p is gone.
func (lp *loop) consume(p *peer, data []byte) bool {
	for len(data) > 0 {
		if p.left < 0 {
			head := data
			if len(p.in) > 0 {
				p.in = append(p.in, data...)
				head = p.in
			}
			end := bytes.Index(head, headEnd)
			if end < 0 {
				if len(p.in) == 0 {
					p.in = append(p.in, data...)
				}
				return true
			}
			p.left = contentLength(head[:end+2])
			data = head[end+4:]
			p.in = nil
		}
		n := min(p.left, len(data))
		p.left -= n
		data = data[n:]
		if p.left == 0 {
			p.left = -1
			if !lp.complete(p) {
				return false
			}
		}
	}
	return true
}

// contentLength reads the length from a head; the peers measured here send
// one with every body.
func contentLength(head []byte) int {
	i := indexFold(head, lengthOf)
	if i < 0 {
		return 0
	}
	n := 0
	for _, c := range head[i+len(lengthOf):] {
		if c == ' ' {
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// indexFold finds lower in head; the first letters stand in two spellings only.
func indexFold(head, lower []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(head[from:], '\r')
		if i < 0 || from+i+len(lower) > len(head) {
			return -1
		}
		i += from
		if bytes.EqualFold(head[i:i+len(lower)], lower) {
			return i
		}
		from = i + 1
	}
}

// complete is called when p has read a whole message.
func (lp *loop) complete(p *peer) bool {
	if p.kind == kindUpstream {
		p.out = lp.response
		return lp.flush(p)
	}
	if lp.counting {
		lp.out.requests++
		lp.out.latencies.add(lp.now.Sub(p.sent))
	}
	if lp.closeEach {
		lp.drop(p)
		if err := lp.dial(); err != nil {
			lp.out.errors++
		}
		return false
	}
	p.out, p.sent = lp.request, lp.now
	return lp.flush(p)
}

// flush writes what is waiting; false when p is gone.
func (lp *loop) flush(p *peer) bool {
	for len(p.out) > 0 {
		n, err := unix.Write(p.fd, p.out)
		if err == unix.EAGAIN {
			lp.wantWrite(p, true)
			return true
		}
		if err != nil {
			if p.kind == kindClient {
				lp.lost(p)
			} else {
				lp.drop(p)
			}
			return false
		}
		p.out = p.out[n:]
	}
	lp.wantWrite(p, false)
	return true
}

func (lp *loop) wantWrite(p *peer, want bool) {
	if p.writable == want {
		return
	}
	p.writable = want
	events := uint32(unix.EPOLLIN)
	if want {
		events |= unix.EPOLLOUT
	}
	_ = unix.EpollCtl(lp.ep, unix.EPOLL_CTL_MOD, p.fd, &unix.EpollEvent{Events: events, Fd: int32(p.fd)})
}
