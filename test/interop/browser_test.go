package interop

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// page opens a WebSocket to where it came from, and shows what comes back. The
// time of the browser stands still while something is fetched, though not for a
// WebSocket: so it fetches what is there once that is over.
const page = `<!doctype html>
<title>WebSocket</title>
<p id="result">nothing</p>
<script>
fetch("finished");
const show = text => { document.getElementById("result").textContent = text };
const messages = ["a", "b".repeat(70000)], got = [];
const socket = new WebSocket(location.href.replace("https", "wss").replace("page", "socket"), "chat");
socket.onopen = () => messages.forEach(m => socket.send(m));
socket.onmessage = e => {
	got.push(e.data);
	if (got.length == messages.length) {
		show(got.every((m, i) => m == messages[i]) ? "echoed over " + socket.protocol : "another echo");
		socket.close(1000);
	}
};
socket.onerror = () => show("failed");
</script>
`

// TestBrowser has a browser load a page through weir, which opens a WebSocket
// through weir. It takes the connection of the page, over HTTP/2.
func TestBrowser(t *testing.T) {
	w := emptyWorld(t)
	for _, u := range upstreams {
		finished := make(chan struct{})
		w.add(u, u.name, u.serve(t, w.trust, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch last(r.URL.Path) {
			case "socket":
				serveWebSocket(rw, r)
				close(finished)
			case "finished":
				select {
				case <-finished:
				case <-r.Context().Done():
				}
			case "page":
				rw.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(rw, page)
			default: // an icon
				http.NotFound(rw, r)
			}
		})), "", "timeout: 20s, ")
	}
	w.start(t)
	_, port, err := net.SplitHostPort(w.Address(t, "secure"))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range upstreams {
		t.Run("to "+u.name, func(t *testing.T) {
			shown := program(t, "chromium", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
				"--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--ignore-certificate-errors", "--host-resolver-rules=MAP site.test 127.0.0.1",
				"--user-data-dir="+filepath.Join(t.TempDir(), "profile"),
				"--virtual-time-budget=10000", "--dump-dom", "https://site.test:"+port+"/"+u.name+"/page")
			if !strings.Contains(shown, "echoed over chat") {
				t.Errorf("the browser shows\n%s", shown)
			}
			record := w.Logged(t, `"path":"/`+u.name+`/socket"`)
			if !strings.Contains(record, `"protocol":"HTTP/2"`) {
				t.Errorf("the WebSocket came otherwise: %s", record)
			}
		})
	}
}
