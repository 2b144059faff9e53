package http2

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weirproxy/weir/internal/tunneltest"
	"github.com/weirproxy/weir/stream"
)

var connectProtocol = http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}

func webSocketRequest() *stream.Request {
	req := clientRequest("GET", "/chat", nil, 0)
	req.Upgrade = "websocket"
	req.Header.Add("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
	req.Header.Add("Sec-WebSocket-Version", "13")
	return req
}

func TestClientExtendedConnect(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u, connectProtocol)
	got := ask(t, c, t.Context(), webSocketRequest())
	h := up.expect(http2.FrameHeaders)
	if h.fields[":method"] != "CONNECT" || h.fields[":protocol"] != "websocket" || h.fields[":path"] != "/chat" ||
		h.fields[":scheme"] != "http" || h.fields["sec-websocket-version"] != "13" || h.fields["sec-websocket-key"] != "" ||
		h.Flags.Has(http2.FlagHeadersEndStream) {
		t.Errorf("%v %v", h.fields, h.Flags)
	}
	up.headers(1, false, ":status", "200", "sec-websocket-protocol", "chat")
	a := <-got
	if a.err != nil || a.resp.Status != 101 {
		t.Fatal(a.resp, a.err)
	}
	d := a.resp.Body.(stream.Duplex)
	if _, err := io.WriteString(d, "ping"); err != nil {
		t.Fatal(err)
	}
	up.data(1, false, up.expect(http2.FrameData).data)
	p := make([]byte, 10)
	if n, err := d.Read(p); string(p[:n]) != "ping" || err != nil {
		t.Fatal(n, err)
	}
	if err := d.CloseWrite(); err != nil || !up.expect(http2.FrameData).Flags.Has(http2.FlagDataEndStream) {
		t.Fatal(err)
	}
	up.data(1, true, "last")
	if n, err := io.ReadFull(d, p[:4]); string(p[:n]) != "last" || err != nil {
		t.Fatal(n, err)
	}
	if n, err := d.Read(p); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	d.Close()
	d.Close()
	if u.ended.Load() != 1 || c.places.Load() != 0 || u.cfg.Stats.Canceled.Load() != 0 {
		t.Errorf("%d ended, %d places, %d canceled", u.ended.Load(), c.places.Load(), u.cfg.Stats.Canceled.Load())
	}
	if _, err := d.Write(p); err == nil {
		t.Error("a write behind the close")
	}
}

func TestClientExtendedConnectRefused(t *testing.T) {
	u := newClientSetup(t)
	c, _ := newFakeUpstream(t, u)
	_, err := do(t, c, webSocketRequest())
	expectFault(t, err, stream.UpgradeRefused, stream.RetryNever)
	if !c.Reserve() {
		t.Error("the connection is lost")
	}
	c, up := newFakeUpstream(t, u, connectProtocol)
	got := ask(t, c, t.Context(), webSocketRequest())
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "403", "content-length", "2")
	up.data(1, true, "no")
	a := <-got
	if a.err != nil || a.resp.Status != 403 || readAll(t, a.resp) != "no" {
		t.Fatal(a.resp, a.err)
	}
	a.resp.Body.Close()
	if r := up.expect(http2.FrameRSTStream); r.code != http2.ErrCodeCancel {
		t.Errorf("%v", r.code)
	}
}

func TestClientConnect(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	req := clientRequest("CONNECT", "", nil, 0)
	req.Target.Port = "443"
	got := ask(t, c, t.Context(), req)
	h := up.expect(http2.FrameHeaders)
	if len(h.fields) != 2 || h.fields[":method"] != "CONNECT" || h.fields[":authority"] != "example.com:443" {
		t.Errorf("%v", h.fields)
	}
	up.headers(1, false, ":status", "200")
	a := <-got
	if a.err != nil || a.resp.Status != 200 {
		t.Fatal(a.resp, a.err)
	}
	d := a.resp.Body.(stream.Duplex)
	read := make(chan error, 1)
	go func() {
		_, err := d.Read(make([]byte, 1))
		read <- err
	}()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(d, strings.Repeat("x", 1<<20)) // more than the windows
		wrote <- err
	}()
	for range 3 {
		up.expect(http2.FrameData)
	}
	d.Close() // ends both
	if err := <-read; err == nil {
		t.Error("the read went on")
	}
	if err := <-wrote; err == nil {
		t.Error("the write went on")
	}
	if r := up.expect(http2.FrameRSTStream); r.code != http2.ErrCodeCancel {
		t.Errorf("%v", r.code)
	}
}

func TestClientTunnelIdle(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u, connectProtocol)
	req := webSocketRequest()
	req.Tunnel.Idle = 100 * time.Millisecond
	got := ask(t, c, t.Context(), req)
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "200")
	a := <-got
	d := a.resp.Body.(stream.Duplex)
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(d, strings.Repeat("x", 1<<20)) // nobody opens the window
		wrote <- err
	}()
	_, err := d.Read(make([]byte, 1))
	expectFault(t, err, stream.BodyTimeout, stream.RetryNever)
	expectFault(t, <-wrote, stream.BodyTimeout, stream.RetryNever)
	d.Close()
	if u.ended.Load() != 1 {
		t.Errorf("%d ended", u.ended.Load())
	}
}

// The end of a tunnel may be asked for by several at once: the stage around it,
// and the two goroutines that carry.
func TestClientTunnelClosedTwice(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u, connectProtocol)
	g, req := tunneltest.NewGate(), webSocketRequest()
	req.Body = g
	got := ask(t, c, t.Context(), req)
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "200")
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	g.CloseTwice(t, a.resp.Body)
}

// An upstream that has ended its side, and says that it needs no more, has ended as
// it should: Go's server does so whenever a handler returns.
func TestClientTunnelUnwanted(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   bool // the side of the upstream ends first
		code  http2.ErrCode
		fails bool
	}{
		{"ended, needs no more", true, http2.ErrCodeNo, false},
		{"ended, then an error", true, http2.ErrCodeInternal, true},
		{"not ended", false, http2.ErrCodeNo, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newClientSetup(t)
			conn, up := newFakeUpstream(t, u, connectProtocol)
			got := ask(t, conn, t.Context(), webSocketRequest())
			up.expect(http2.FrameHeaders)
			up.headers(1, false, ":status", "200")
			a := <-got
			if a.err != nil {
				t.Fatal(a.err)
			}
			d := a.resp.Body.(stream.Duplex)
			defer d.Close()
			if c.end {
				up.data(1, true, "bye")
			}
			up.reset(1, c.code)
			up.write(func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{1}) })
			up.expect(http2.FramePing) // what came before has been read
			text, readErr := io.ReadAll(d)
			n, writeErr := io.WriteString(d, "bye, too")
			closeErr := d.CloseWrite()
			if c.fails {
				expectFault(t, writeErr, stream.UpstreamReset, stream.RetryIdempotent)
				expectFault(t, closeErr, stream.UpstreamReset, stream.RetryIdempotent)
				return
			}
			if string(text) != "bye" || readErr != nil || n != 8 || writeErr != nil || closeErr != nil {
				t.Errorf("read %q, %v; wrote %d, %v; closed %v", text, readErr, n, writeErr, closeErr)
			}
		})
	}
}
