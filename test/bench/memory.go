//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// idleConnections is how many keep-alive connections the memory case holds.
const idleConnections = 1000

// printMemory measures resident memory: after the start, and with idle
// keep-alive connections that have carried one request each.
func (o options) printMemory(w io.Writer, self string) error {
	const name = "memory"
	if !o.only.MatchString(name) {
		return nil
	}
	if _, err := fmt.Fprintf(w, "\n| proxy | RSS idle MB | RSS with %d idle connections MB |\n|---|---|---|\n", idleConnections); err != nil {
		return err
	}
	for _, p := range proxies(absolute(o.weir), self) {
		if !o.peers.MatchString(p.name) {
			continue
		}
		idle, held, err := o.memory(p)
		if err != nil {
			return fmt.Errorf("memory, %s: %w", p.name, err)
		}
		if _, err := fmt.Fprintf(w, "| %s | %.1f | %.1f |\n", p.name, float64(idle)/1e6, float64(held)/1e6); err != nil {
			return err
		}
	}
	return nil
}

func (o options) memory(p proxy) (idle, held int64, err error) {
	upstream, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = upstream.Close() }()
	c := cases()[0]
	go serveCanned(upstream, c.answer())
	listen, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	r, err := p.start(o.proxyCore, setup{listen: listen.String(), upstream: upstream.Addr().String(), connections: connections})
	if err != nil {
		return 0, 0, err
	}
	defer r.stop()
	time.Sleep(time.Second) // let the start-up settle
	idle = residentBytes(r.pids())
	for range idleConnections {
		conn, err := net.Dial("tcp", listen.String())
		if err != nil {
			return 0, 0, err
		}
		defer conn.Close()
		if err := exchange(conn, c.request()); err != nil {
			return 0, 0, fmt.Errorf("%w\n%s", err, r.output)
		}
	}
	time.Sleep(2 * time.Second)
	return idle, residentBytes(r.pids()), nil
}

func exchange(conn net.Conn, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func serveCanned(l *net.TCPListener, response []byte) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				if _, err := conn.Write(response); err != nil {
					return
				}
			}
		}()
	}
}
