//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// maxSockets is how many WebSockets are held open, where the limit of open files
// allows it: each takes two files of the proxy, and two of bench.
const maxSockets = 10_000

// raiseFiles raises the limit of open files, for bench and for the proxies that
// it starts, and returns it.
func raiseFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	const want = 4 * maxSockets
	wider := syscall.Rlimit{Cur: want, Max: max(want, limit.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wider) == nil {
		return want, nil
	}
	limit.Cur = min(want, limit.Max) // more takes a privilege that is not there
	return int(limit.Cur), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// printWebSockets measures what an idle WebSocket costs in resident memory.
func (o options) printWebSockets(w io.Writer, self string) error {
	const name = "idle WebSockets"
	if !o.only.MatchString(name) {
		return nil
	}
	files, err := raiseFiles()
	if err != nil {
		return err
	}
	sockets := min(maxSockets, (files-files/8)/2) // nearer to the limit, weir begins to refuse connections
	if _, err := fmt.Fprintf(w, "\n| proxy | RSS idle MB | RSS with %d idle WebSockets MB | KB per WebSocket |\n|---|---|---|---|\n", sockets); err != nil {
		return err
	}
	for _, p := range proxies(absolute(o.weir), self) {
		if p.name == "httputil" || !o.peers.MatchString(p.name) {
			continue
		}
		idle, held, err := o.webSockets(p, sockets)
		if err != nil {
			return fmt.Errorf("WebSockets, %s: %w", p.name, err)
		}
		if _, err := fmt.Fprintf(w, "| %s | %.1f | %.1f | %.1f |\n", p.name, float64(idle)/1e6, float64(held)/1e6, float64(held-idle)/1e3/float64(sockets)); err != nil {
			return err
		}
	}
	return nil
}

func (o options) webSockets(p proxy, sockets int) (idle, held int64, err error) {
	upstream, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = upstream.Close() }()
	go serveWebSockets(upstream)
	listen, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	r, err := p.start(o.proxyCore, setup{listen: listen.String(), upstream: upstream.Addr().String(), connections: sockets + 32})
	if err != nil {
		return 0, 0, err
	}
	defer r.stop()
	time.Sleep(time.Second) // let the start-up settle
	idle = residentBytes(r.pids())
	for i := range sockets {
		// Four client addresses: the ports of one would be used up by three
		// proxies in a row.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%4))}}
		conn, err := dialer.Dial("tcp", listen.String())
		if err != nil {
			return 0, 0, err
		}
		defer conn.Close()
		if err := openWebSocket(conn); err != nil {
			return 0, 0, fmt.Errorf("socket %d: %w\n%s", i+1, err, r.output)
		}
	}
	time.Sleep(5 * time.Second)
	return idle, residentBytes(r.pids()), nil
}

// The handshake of RFC 6455 section 1.3, and a frame of five bytes each way:
// masked with zeros from the client, plain from the server.
const (
	webSocketRequest = "GET /socket HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: weir-bench/1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	webSocketAnswer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	frameUp         = "\x81\x85\x00\x00\x00\x00hello"
	frameDown       = "\x81\x05hello"
)

// openWebSocket makes conn a WebSocket that has carried a message each way, so
// that what the proxy takes with the first one is counted.
func openWebSocket(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, webSocketRequest); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	if _, err := io.WriteString(conn, frameUp); err != nil {
		return err
	}
	var frame [len(frameDown)]byte
	_, err = io.ReadFull(in, frame[:])
	return err
}

// serveWebSockets accepts each, answers the first message and reads on.
func serveWebSockets(l *net.TCPListener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 1024)
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			if _, err := io.WriteString(conn, webSocketAnswer); err != nil {
				return
			}
			var frame [len(frameUp)]byte
			for {
				if _, err := io.ReadFull(in, frame[:]); err != nil {
					return
				}
				if _, err := io.WriteString(conn, frameDown); err != nil {
					return
				}
			}
		}()
	}
}
