package interop

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// grpcWebPage calls every upstream in binary form and in text, and one call that
// fails. A message is written by hand: field 3 of SimpleRequest is its payload,
// whose field 2 is the content; field 7 is the status to answer with. As in page, an
// image holds the load up until all is shown.
const grpcWebPage = `<!doctype html>
<title>gRPC-Web</title>
<img src=/page/finished>
<script>
const text = new TextEncoder(), chars = bytes => String.fromCharCode(...bytes);
const field = (number, bytes) => [number << 3 | 2, bytes.length, ...bytes];
const echo = field(3, field(2, text.encode("hello")));
const failing = field(7, [1 << 3, 9, ...field(2, text.encode("not now"))]);
const framed = message => Uint8Array.from([0, 0, 0, 0, message.length, ...message]);
function frames(bytes) {
	let out = "";
	for (let at = 0; at < bytes.length;) {
		const length = new DataView(bytes.buffer, at + 1).getUint32(0);
		out += (bytes[at] & 128 ? "|trailer " : "|message ") + chars(bytes.slice(at + 5, at + 5 + length)).replaceAll("\r\n", ";").replace(/[^ -~]/g, ".");
		at += 5 + length;
	}
	return out;
}
async function call(id, to, asText, message) {
	const type = asText ? "application/grpc-web-text" : "application/grpc-web+proto";
	const body = asText ? btoa(chars(framed(message))) : framed(message);
	const resp = await fetch("/grpc.testing.TestService/UnaryCall", {method: "POST", body: body, headers: {"content-type": type, "x-to": to, "x-grpc-web": "1"}});
	let bytes = new Uint8Array(await resp.arrayBuffer());
	if (asText) { // padded pieces one behind the other
		bytes = Uint8Array.from(chars(bytes).match(/[^=]+=*/g).flatMap(piece => [...atob(piece)].map(c => c.charCodeAt(0))));
	}
	const status = resp.headers.get("grpc-status"), said = status ? "|header grpc-status:" + status : "";
	document.body.insertAdjacentHTML("beforeend", "<p id=" + id + "></p>");
	document.getElementById(id).textContent = id + said + frames(bytes);
}
Promise.allSettled("NAMES".split(" ").flatMap(to => [
	call(to + "-binary", to, false, echo), call(to + "-text", to, true, echo), call(to + "-fails", to, false, failing),
])).then(() => fetch("/page/shown"));
</script>
<body></body>
`

// TestBrowserGRPCWeb has a browser call gRPC services through weir.
func TestBrowserGRPCWeb(t *testing.T) {
	w := emptyWorld(t)
	var names []string
	for _, u := range upstreams {
		if u.version == "HTTP/2.0" {
			names = append(names, u.name)
			w.clusters.WriteString(u.cluster(u.name, u.serveGRPC(t, w.trust), ""))
			w.route(u.name, "headers: [{name: x-to, exact: "+u.name+"}]", "filters: [{grpc_web: {}}], ")
		}
	}
	shown := make(chan struct{})
	w.add(upstreams[0], "page", upstreams[0].serve(t, w.trust, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch last(r.URL.Path) {
		case "shown":
			close(shown)
		case "finished":
			select {
			case <-shown:
			case <-r.Context().Done():
			}
		case "page":
			rw.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(rw, strings.ReplaceAll(grpcWebPage, "NAMES", strings.Join(names, " ")))
		}
	})), "", "timeout: 20s, ")
	w.start(t)
	_, port, err := net.SplitHostPort(w.Address(t, "secure"))
	if err != nil {
		t.Fatal(err)
	}
	dom := browse(t, "https://site.test:"+port+"/page/page")
	const behind = "grpc-message: ;x-behind-bin: AP8;"
	for _, name := range names {
		for _, form := range []string{"binary", "text"} {
			contains(t, dom, ">"+name+"-"+form+"|message ....hello|trailer grpc-status: 0;"+behind+"<")
		}
		contains(t, dom, ">"+name+"-fails|trailer grpc-status: 9;grpc-message: not now;x-behind-bin: AP8;<")
	}
}
