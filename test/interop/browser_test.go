package interop

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// page opens a WebSocket to every upstream, and shows what comes back. It is
// loaded, and then dumped, when its images are there: once each WebSocket is
// over. (With --virtual-time-budget, the browser does not wait for WebSockets,
// and while it waits for something else they may get no time at all.)
const page = `<!doctype html>
<title>WebSocket</title>
<script>
const messages = ["a", "b".repeat(70000)];
function open(name) {
	document.write("<p id=" + name + ">nothing</p><img src=/" + name + "/finished>");
	const got = [], show = text => { document.getElementById(name).textContent = name + " " + text };
	const socket = new WebSocket("wss://" + location.host + "/" + name + "/socket", "chat");
	socket.onopen = () => messages.forEach(m => socket.send(m));
	socket.onmessage = e => {
		got.push(e.data);
		if (got.length == messages.length) {
			show(got.every((m, i) => m == messages[i]) ? "echoed over " + socket.protocol : "said something else");
			socket.close(1000);
		}
	};
	socket.onerror = () => show("failed");
}
"NAMES".split(" ").forEach(open);
</script>
`

// TestBrowser has a browser load a page through weir, which opens WebSockets
// through weir. They take the connection of the page, over HTTP/2.
func TestBrowser(t *testing.T) {
	w := emptyWorld(t)
	var names []string
	for _, u := range upstreams {
		names = append(names, u.name)
	}
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
				_, _ = io.WriteString(rw, strings.ReplaceAll(page, "NAMES", strings.Join(names, " ")))
			}
		})), "", "timeout: 20s, ")
	}
	w.start(t)
	_, port, err := net.SplitHostPort(w.Address(t, "secure"))
	if err != nil {
		t.Fatal(err)
	}
	shown := browse(t, "https://site.test:"+port+"/h1/page")
	for _, name := range names {
		contains(t, shown, ">"+name+" echoed over chat<")
		contains(t, w.Logged(t, `"path":"/`+name+`/socket"`), `"protocol":"HTTP/2"`)
	}
}

// browse loads a page of site.test and returns it as it is once it has loaded.
func browse(t *testing.T, url string) string {
	t.Helper()
	return program(t, "chromium", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--host-resolver-rules=MAP site.test 127.0.0.1",
		"--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "--dump-dom", url)
}
