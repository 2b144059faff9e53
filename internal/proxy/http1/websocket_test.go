package http1

import (
	"context"
	"strings"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// overHTTP2 is a service that makes of a request what a codec without keys
// makes of it.
func overHTTP2(next stream.Service) stream.Service {
	return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		req.Header.DelID(stream.SecWebSocketKey)
		return next.Serve(ctx, req)
	})
}

// The key of the client half is its own: made for the request, checked, and not
// shown to the client, whose proof is the one for the key that it sent.
func TestWebSocketKeyIsMade(t *testing.T) {
	for _, c := range []struct {
		name   string
		accept func(key string) string
		want   string
	}{
		{"right", acceptOf, "HTTP/1.1 101 Switching Protocols"},
		{"wrong", func(string) string { return sampleAccept }, "HTTP/1.1 502 Bad Gateway"},
		{"empty", func(string) string { return "" }, "HTTP/1.1 502 Bad Gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			pool := newPool(t, o)
			e := newEdge(t, overHTTP2(pool))
			p := e.dial()
			p.send(strings.Replace(upgrade, "Connection", "Sec-WebSocket-Protocol: chat\r\nConnection", 1))
			up := o.accept()
			_, fields := up.head()
			key, version := "", 0
			for _, f := range fields {
				if k, ok := strings.CutPrefix(f, "Sec-WebSocket-Key: "); ok {
					key = k
				}
				if f == "Sec-WebSocket-Version: 13" {
					version++
				}
			}
			if len(key) != 24 || key == sampleKey || version != 1 {
				t.Fatalf("the upstream got %q", fields)
			}
			up.send("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + c.accept(key) + "\r\n\r\n")
			first, fields := p.head()
			if first != c.want {
				t.Errorf("got %q", first)
			}
			accepts := strings.Count(strings.Join(fields, "\n"), "Sec-WebSocket-Accept: ")
			if ours := strings.Contains(strings.Join(fields, "\n"), sampleAccept); first == c.want && c.name == "right" && (accepts != 1 || !ours) {
				t.Errorf("the client got %q", fields)
			}
			if c.name != "right" {
				if f := e.exchange(0).Fault; f == nil || f.Kind != stream.ResponseMalformed || f.Retry != stream.RetryNever {
					t.Errorf("fault %v", f)
				}
				pool.wantFreed(false)
			}
		})
	}
}

func TestWebSocketVersionIsAdded(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	req := newGet("/chat")
	req.Upgrade = "websocket"
	done := make(chan error, 1)
	go func() {
		resp, err := pool.Serve(context.Background(), req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	up := o.accept()
	_, fields := up.head()
	if all := strings.Join(fields, "\n"); !strings.Contains(all, "Sec-WebSocket-Version: 13") || !strings.Contains(all, "Sec-WebSocket-Key: ") {
		t.Errorf("the upstream got %q", fields)
	}
	if _, ok := req.Header.GetID(stream.SecWebSocketKey); ok {
		t.Error("the key stands in the request, where another attempt would find it")
	}
	up.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The proof of the server half is for the key that the client sent.
func TestWebSocketProofIsMade(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	p.send(upgrade)
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\nDate: " + when + "\r\n\r\n")
	p.want("HTTP/1.1 101 Switching Protocols\r\nDate: " + when + "\r\nSec-WebSocket-Accept: " + sampleAccept +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

// A WebSocket that is not one is refused in one answer and goes nowhere.
func TestWebSocketRefused(t *testing.T) {
	e := newEdge(t, echo)
	p := e.dial()
	p.send(strings.Replace(upgrade, sampleKey, "x", 1))
	if first, _ := p.head(); first != "HTTP/1.1 400 Bad Request" {
		t.Errorf("got %q", first)
	}
	if f := e.exchange(0).Fault; f == nil || f.Kind != stream.UpgradeRefused {
		t.Errorf("fault %v", f)
	}
	if n := e.Stats.Refused[stream.UpgradeRefused].Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
}
