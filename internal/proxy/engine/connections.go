package engine

import (
	"time"

	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/framed"
	"github.com/weirproxy/weir/internal/proxy/http1"
	"github.com/weirproxy/weir/internal/proxy/http2"
	"github.com/weirproxy/weir/internal/proxy/http3"
	"github.com/weirproxy/weir/internal/proxy/tcp"
	"github.com/weirproxy/weir/internal/proxy/udp"
	"github.com/weirproxy/weir/stream"
)

// connections yields the open connections of s, until yield returns false.
func (s *server) connections(yield func(admin.Connection) bool) {
	if s.http1 != nil {
		s.http1.Connections(func(c http1.ConnState) bool {
			return yield(connectionRow("http1", c.Facts, c.Phase, c.Age, c.Requests, c.BytesIn, c.BytesOut))
		})
	}
	if s.http2 != nil {
		s.http2.Connections(func(c http2.ConnState) bool {
			row := connectionRow("http2", c.Facts, c.Phase, c.Age, c.Requests, c.BytesIn, c.BytesOut)
			row.Streams = c.Streams
			return yield(row)
		})
	}
	if s.tcp != nil {
		s.tcp.Connections(func(c tcp.ConnState) bool {
			return yield(connectionRow("tcp", c.Facts, c.Phase, c.Age, c.Requests, c.BytesIn, c.BytesOut))
		})
	}
	if s.framed != nil {
		s.framed.Connections(func(c framed.ConnState) bool {
			return yield(connectionRow("framed", c.Facts, c.Phase, c.Age, c.Requests, c.BytesIn, c.BytesOut))
		})
	}
}

// open is how many connections or sessions d has.
func (d *datagrams) open() int64 {
	if d.sessions != nil {
		return d.sessions.Stats.Open.Load()
	}
	return d.http3.Stats.Open.Load()
}

func (d *datagrams) connections(yield func(admin.Connection) bool) {
	if d.sessions != nil {
		d.sessions.Connections(func(c udp.ConnState) bool {
			return yield(connectionRow("udp", c.Facts, c.Phase, c.Age, 1, c.BytesIn, c.BytesOut))
		})
		return
	}
	d.http3.Connections(func(c http3.ConnState) bool {
		row := connectionRow("http3", c.Facts, c.Phase, c.Age, c.Requests, c.BytesIn, c.BytesOut)
		row.Streams = c.Streams
		return yield(row)
	})
}

func connectionRow(protocol string, facts *stream.Conn, phase stream.Phase, age time.Duration, requests, in, out int64) admin.Connection {
	row := admin.Connection{
		ID: facts.ID, Listener: facts.Listener, Protocol: protocol, Remote: "unix", Phase: phase.String(), Age: admin.Duration(age),
		Requests: requests, BytesIn: in, BytesOut: out,
	}
	if facts.Remote.IsValid() {
		row.Remote = facts.Remote.String()
	}
	if t := facts.TLS; t != nil {
		row.TLS, row.ServerName, row.Identity = tlsVersion(t), t.ServerName, identity(t)
	} else if h := facts.Hello; h != nil {
		row.ServerName = h.ServerName
	}
	return row
}
