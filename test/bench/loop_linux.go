//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// load is one measurement: conns clients in a closed loop against target, and
// the canned upstream that the proxy asks. Without clients of its own (conns 0)
// the loop counts what the upstream has answered.
type load struct {
	target    *unix.SockaddrInet4
	upstream  *unix.SockaddrInet4
	conns     int
	request   []byte
	response  []byte // what the upstream answers, head and body
	endpoints int    // the upstream listens on so many addresses, from upstream on; 0: one
	closeEach bool   // a new connection for every request
	grpc      []byte // instead of response: the message of the canned gRPC server
	warm      time.Duration
	measure   time.Duration
	cpu       func() (time.Duration, error) // of the proxy so far
	more      <-chan struct{}               // after that, serve until this is closed; nil: end
}

// outcome is what the loop saw during the measured time.
type outcome struct {
	requests  int64
	errors    int64
	elapsed   time.Duration
	cpu       time.Duration // of the proxy
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
	grpc     *grpcPeer
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
	err      error // ends the loop
}

func sockaddr(a *net.TCPAddr) *unix.SockaddrInet4 {
	sa := &unix.SockaddrInet4{Port: a.Port}
	copy(sa.Addr[:], a.IP.To4())
	return sa
}

// newLoop is a loop whose upstream listens.
func newLoop(l load) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	lp := &loop{load: l, ep: ep, peers: map[int]*peer{}, buf: make([]byte, 1<<18)}
	lp.out.latencies = new(latencies)
	if err := lp.listen(); err != nil {
		lp.close()
		return nil, err
	}
	return lp, nil
}

// run drives the load to its end.
func (lp *loop) run() (outcome, error) {
	for range lp.conns {
		if err := lp.dial(); err != nil {
			return outcome{}, err
		}
	}
	if err := lp.drive(time.Now().Add(lp.warm), nil); err != nil {
		return outcome{}, err
	}
	before, err := lp.cpu()
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	lp.counting = true
	if err := lp.drive(start.Add(lp.measure), nil); err != nil {
		return outcome{}, err
	}
	lp.counting = false
	lp.out.elapsed = time.Since(start)
	after, err := lp.cpu()
	if err != nil {
		return outcome{}, err
	}
	lp.out.cpu = after - before
	if lp.more != nil {
		err = lp.drive(start.Add(time.Minute), lp.more)
	}
	return lp.out, err
}

func (lp *loop) close() {
	for fd := range lp.peers {
		_ = unix.Close(fd)
	}
	_ = unix.Close(lp.ep)
}

// drive serves until the time has come or the channel is closed.
func (lp *loop) drive(until time.Time, closed <-chan struct{}) error {
	events := make([]unix.EpollEvent, 512)
	for {
		select {
		case <-closed:
			return nil
		default:
		}
		n, err := unix.EpollWait(lp.ep, events, 100)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		if lp.now = time.Now(); lp.now.After(until) {
			return nil
		}
		for i := range max(n, 0) {
			if p := lp.peers[int(events[i].Fd)]; p != nil {
				lp.handle(p, events[i].Events)
			}
		}
		if lp.err != nil {
			return lp.err
		}
	}
}

func (lp *loop) listen() error {
	for i := range max(lp.endpoints, 1) {
		at := *lp.upstream
		at.Addr[3] += byte(i)
		if err := lp.listenAt(&at); err != nil {
			return err
		}
	}
	return nil
}

func (lp *loop) listenAt(at *unix.SockaddrInet4) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, at); err != nil {
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
		p := &peer{fd: fd, kind: kindUpstream, left: -1}
		if err := lp.add(p, unix.EPOLLIN); err != nil {
			_ = unix.Close(fd)
			continue
		}
		if lp.grpc != nil {
			p.grpc = &grpcPeer{preface: prefaceLength, window: defaultWindow}
			p.out = grpcHello()
			lp.flush(p)
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
		n, err := lp.receive(p)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
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
		if n <= p.left { // of a body, of which only the length counts
			p.left -= n
			if p.left == 0 {
				p.left = -1
				if !lp.complete(p) {
					return
				}
			}
		} else if !lp.consume(p, lp.buf[:n]) {
			return
		}
		if n < len(lp.buf) {
			return
		}
	}
}

// receive reads what p has to say. Of a long body the kernel throws the bytes
// away instead of copying them: the load must not cost more than the proxies.
func (lp *loop) receive(p *peer) (int, error) {
	if p.left < len(lp.buf) {
		return unix.Read(p.fd, lp.buf)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(p.fd), uintptr(unsafe.Pointer(&lp.buf[0])), uintptr(p.left), unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

var (
	headEnd  = []byte("\r\n\r\n")
	lengthOf = []byte("\r\ncontent-length:")
)

// consume advances the message that p reads; false when p is gone.
func (lp *loop) consume(p *peer, data []byte) bool {
	if p.grpc != nil {
		return lp.consumeGRPC(p, data)
	}
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

// consumeGRPC answers all calls that were read at once with one write.
func (lp *loop) consumeGRPC(p *peer, data []byte) bool {
	p.grpc.out = p.grpc.out[:0]
	if len(p.out) > 0 { // what could not be written yet
		p.grpc.out = p.out
	}
	answered, err := p.grpc.consume(data, lp.grpc)
	if err != nil {
		lp.err = err
	}
	lp.served(answered)
	p.out = p.grpc.out
	return lp.flush(p)
}

// served counts for clients that are not the loop's.
func (lp *loop) served(n int) {
	if lp.counting && lp.conns == 0 {
		lp.out.requests += int64(n)
	}
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
		lp.served(1)
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
