package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

const upgrade = get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n\r\n"

// sampleKey and sampleAccept are those of RFC 6455 section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func TestTunnel(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool)
	p := e.dial()
	p.send(upgrade + "early")
	up := o.accept()
	up.want("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	up.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: WebSocket\r\nSec-WebSocket-Accept: y\r\nDate: " + when + "\r\n\r\nfirst")
	p.want("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nDate: " + when + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
	up.want("early")
	p.send("ping")
	up.want("ping")
	up.send("pong")
	p.want("pong")

	// One direction ends; the other goes on until it ends too.
	closeWrite(p.nc)
	if rest := up.rest(); rest != "" {
		t.Errorf("the upstream got %q", rest)
	}
	up.send(strings.Repeat("z", 100000))
	up.nc.Close()
	if got := p.rest(); len(got) != 100000 {
		t.Errorf("the client got %d bytes", len(got))
	}
	ex := e.exchange(0)
	if ex.Status != 101 || ex.BytesIn != int64(len("earlyping")) || ex.BytesOut != int64(len("firstpong"))+100000 || ex.Fault != nil {
		t.Errorf("status %d, %d bytes in, %d out, fault %v", ex.Status, ex.BytesIn, ex.BytesOut, ex.Fault)
	}
	pool.wantFreed(false)
	if n := e.Stats.Upgrades.Load(); n != 1 {
		t.Errorf("%d upgrades", n)
	}
}

func TestTunnelEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(p, up *peer)
		fault bool
	}{
		{"client resets", func(p, up *peer) { reset(p.nc) }, true},
		{"upstream resets", func(p, up *peer) { reset(up.nc) }, true},
		{"upstream closes first", func(p, up *peer) {
			closeWrite(up.nc)
			if rest := p.rest(); rest != "" {
				t.Errorf("the client got %q", rest)
			}
			p.send("bye")
			up.want("bye")
			p.nc.Close()
		}, false},
		{"nothing moves", func(p, up *peer) {}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			idle := func(l *stream.PhaseLimits) { l[stream.PhaseTunnel] = stream.PhaseLimit{Idle: time.Second} }
			o := newOrigin(t)
			pool := newPool(t, o, func(cfg *ClientConfig) { idle(&cfg.Phases) })
			e := newEdge(t, pool, func(cfg *ServerConfig) { idle(&cfg.Phases) })
			p := e.dial()
			p.send(upgrade)
			up := o.accept()
			up.head()
			up.send("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			p.head()
			c.end(p, up)
			if ex := e.exchange(0); (ex.Fault != nil) != c.fault {
				t.Errorf("the exchange has fault %v", ex.Fault)
			}
			pool.wantFreed(false)
		})
	}
}

// The upstream does not switch: its answer is a normal one, and what the
// client has sent for the new protocol goes nowhere (CVE-2026-73548).
func TestUpgradeRefused(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool)
	p := e.dial()
	p.send(upgrade + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	first, fields := p.head()
	if first != "HTTP/1.1 403 Forbidden" || !strings.Contains(strings.Join(fields, "\n"), "Connection: close") {
		t.Errorf("got %q %q", first, fields)
	}
	p.want("no")
	pool.wantFreed(true)
	closeWrite(p.nc)
	if rest := p.rest(); rest != "" {
		t.Errorf("%q behind the answer", rest)
	}
	// The next request on the upstream connection is that of somebody else.
	other := e.dial()
	other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
	if first, _ := up.head(); first != "GET /other HTTP/1.1" {
		t.Errorf("the upstream got %q", first)
	}
}
