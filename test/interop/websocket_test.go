package interop

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// webSockets is a world of WebSocket servers.
func webSockets(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	for _, u := range upstreams {
		w.add(u, u.name, u.serve(t, w.trust, http.HandlerFunc(serveWebSocket)), "", "")
	}
	w.start(t)
	return w
}

func (w *world) dialWebSocket(t *testing.T, d downstream, u upstream) *socket {
	t.Helper()
	return d.dialWebSocket(t, w.trust, w.Address(t, d.listener), "/"+u.name+"/socket")
}

// echoes wants messages to come back.
func (s *socket) echoes(t *testing.T, messages ...string) {
	t.Helper()
	for _, message := range messages {
		if err := s.Write(s.ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		kind, got, err := s.Read(s.ctx)
		if err != nil || kind != websocket.MessageText || string(got) != message {
			t.Fatalf("%v %.100q, %v, want %.100q", kind, got, err, message)
		}
	}
}

func TestWebSocket(t *testing.T) {
	w := webSockets(t)
	for _, d := range downstreams {
		for _, u := range upstreams {
			t.Run(d.name+" to "+u.name, func(t *testing.T) {
				t.Parallel()
				s := w.dialWebSocket(t, d, u)
				if got := s.Subprotocol(); got != "chat" {
					t.Errorf("subprotocol %q", got)
				}
				if v := s.head.Get("X-Upstream-Version"); v != u.version {
					t.Errorf("the upstream was asked with %q, want %s", v, u.version)
				}
				s.echoes(t, "a", "", strings.Repeat("large ", 50000))
				fragments(t, s)
				if err := s.Close(websocket.StatusNormalClosure, "goodbye"); err != nil { // waits for the answer of the upstream
					t.Error(err)
				}
			})
		}
	}
}

// fragments sends a message in several frames of bytes that no text has.
func fragments(t *testing.T, s *socket) {
	t.Helper()
	message, err := s.Writer(s.ctx, websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := message.Write(bytes.Repeat([]byte{0xff, 0}, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := message.Close(); err != nil {
		t.Fatal(err)
	}
	kind, got, err := s.Read(s.ctx)
	if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, bytes.Repeat([]byte{0xff, 0}, 15000)) {
		t.Fatalf("%v, %d bytes, %v", kind, len(got), err)
	}
}

// TestWebSocketReload: what changes, and be it the cluster of the socket itself,
// leaves an open one alone.
func TestWebSocketReload(t *testing.T) {
	t.Parallel()
	w := webSockets(t)
	var open []*socket
	for i, d := range downstreams {
		open = append(open, w.dialWebSocket(t, d, upstreams[i]))
	}
	for i, s := range open {
		s.echoes(t, fmt.Sprintf("%d before", i))
	}
	changed := strings.ReplaceAll(w.document(), "connect_timeout: 20s", "connect_timeout: 19s")
	w.Write(t, changed+"  - {name: another, match: {path: {prefix: /another}}, respond: {status: 204}}\n")
	w.Reload(t)
	if a := (cell{world: w, down: downstreams[0]}).get(t, "/another"); a.StatusCode != http.StatusNoContent {
		t.Fatalf("the document was not loaded: status %d", a.StatusCode)
	}
	for i, s := range open {
		s.echoes(t, fmt.Sprintf("%d after", i))
	}
}

// TestWebSocketDrain: both sides of a socket are told that the proxy goes away.
func TestWebSocketDrain(t *testing.T) {
	t.Parallel()
	w := webSockets(t)
	var open []*socket
	for i, d := range downstreams {
		open = append(open, w.dialWebSocket(t, d, upstreams[i]))
	}
	for i, s := range open {
		s.echoes(t, fmt.Sprint(i))
	}
	w.Terminate(t)
	var clients sync.WaitGroup
	for i, s := range open { // at once: who does not answer in time is cut
		clients.Go(func() {
			if _, _, err := s.Read(s.ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("%s: %v", downstreams[i].name, err)
			}
		})
	}
	clients.Wait()
	w.Stop(t)
}
