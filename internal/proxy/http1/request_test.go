package http1

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/stream"
)

// echo answers with what the request was, in one line, and its body behind it.
var echo = stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return refuse(ctx, req, stream.AsFault(err)), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s", req.Method, req.Target.Authority(), req.Target.RequestURI(), req.Proto)
	for _, f := range req.Header.Fields() {
		fmt.Fprintf(&b, " %s=%q", f.Name, f.Value)
	}
	if req.Upgrade != "" {
		fmt.Fprintf(&b, " upgrade %s", req.Upgrade)
	}
	fmt.Fprintf(&b, " body %q", body)
	if t := req.Body.Trailer(); t != nil {
		for _, f := range t.Fields() {
			fmt.Fprintf(&b, " trailer %s=%q", f.Name, f.Value)
		}
	}
	return text(200, b.String()), nil
})

const get = "GET / HTTP/1.1\r\nHost: a\r\n"
const post = "POST / HTTP/1.1\r\nHost: a\r\n"
const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"

// The rows of threats.md section 1 that are about HTTP/1.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, send string
		status     int
		limit      string
	}{
		{"bare LF in the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, ""},
		{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, ""},
		{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, ""},
		{"bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, ""},
		{"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"bare CR as line end", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400, ""},
		{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, ""},
		{"obs-fold with space", get + "X: a\r\n b\r\n\r\n", 400, ""},
		{"obs-fold with tab", get + "X: a\r\n\tb\r\n\r\n", 400, ""},
		{"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, ""},
		{"space before the colon", get + "X : a\r\n\r\n", 400, ""},
		{"tab before the colon", get + "X\t: a\r\n\r\n", 400, ""},
		{"space before the colon of a framing field", post + "Content-Length : 3\r\n\r\nabc", 400, ""},
		{"empty name", get + ": a\r\n\r\n", 400, ""},
		{"no colon", get + "Xa\r\n\r\n", 400, ""},
		{"name with a separator", get + "X(a): b\r\n\r\n", 400, ""},
		{"name with a byte above ASCII", get + "X\xe4: b\r\n\r\n", 400, ""},
		{"name with NUL", get + "X\x00Y: b\r\n\r\n", 400, ""},
		{"value with NUL", get + "X: a\x00b\r\n\r\n", 400, ""},
		{"value with NUL deep inside", get + "X: 0123456789abcdef\x000123456789abcdef\r\n\r\n", 400, ""},
		{"value with ESC", get + "X: \x1b[0m\r\n\r\n", 400, ""},
		{"value with DEL", get + "X: a\x7fb\r\n\r\n", 400, ""},

		{"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"tab for space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, ""},
		{"space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"control byte in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"byte above ASCII in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"path without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"method with a separator", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"standard method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"standard method in mixed case", "Post / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 400, ""},
		{"CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"CONNECT to another host than Host", "CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", 400, ""},
		{"CONNECT without Host", "CONNECT a:443 HTTP/1.1\r\n\r\n", 400, ""},
		{"CONNECT with a length", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 3\r\n\r\nabc", 400, ""},
		{"CONNECT with chunks", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"CONNECT in lower case", "connect a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400, ""},
		{"websocket without key", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", 400, ""},
		{"websocket with a short key", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n", 400, ""},
		{"websocket with a long key", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWFh\r\n\r\n", 400, ""},
		{"websocket with a key that is no base64", get + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ*=\r\n\r\n", 400, ""},
		{"websocket with two keys", strings.Replace(upgrade, "Sec-WebSocket-Version", "Sec-WebSocket-Key: "+sampleKey+"\r\nSec-WebSocket-Version", 1), 400, ""},
		{"websocket of another version", strings.Replace(upgrade, "Version: 13", "Version: 8", 1), 400, ""},
		{"websocket without version", strings.Replace(upgrade, "Sec-WebSocket-Version: 13\r\n", "", 1), 400, ""},
		{"websocket with POST", strings.Replace(upgrade, "GET", "POST", 1), 400, ""},
		{"HTTP/0.9", "GET /\r\n\r\n", 400, ""},
		{"lower-case protocol", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, ""},
		{"version 01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, ""},
		{"version 1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, ""},
		{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, ""},
		{"version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
		{"two empty lines before the request line", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},
		{"TLS hello", "\x16\x03\x01\x02\x00\x01", 400, ""},

		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, ""},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, ""},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, ""},
		{"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, ""},
		{"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, ""},
		{"Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, ""},
		{"target and Host differ", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""},

		{"both lengths", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"both lengths, the other way round", post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400, ""},
		{"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, ""},
		{"two equal lengths", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, ""},
		{"length list", post + "Content-Length: 3, 3\r\n\r\nabc", 400, ""},
		{"empty length", post + "Content-Length:\r\n\r\n", 400, ""},
		{"length with plus", post + "Content-Length: +3\r\n\r\nabc", 400, ""},
		{"length with minus", post + "Content-Length: -3\r\n\r\nabc", 400, ""},
		{"length in hex", post + "Content-Length: 0x3\r\n\r\nabc", 400, ""},
		{"length with a space inside", post + "Content-Length: 3 3\r\n\r\nabc", 400, ""},
		{"length that overflows", post + "Content-Length: 18446744073709551619\r\n\r\nabc", 400, ""},
		{"length with obs-fold", post + "Content-Length:\r\n 3\r\n\r\nabc", 400, ""},
		{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding list", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"chunked twice in a list", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding identity", post + "Transfer-Encoding: identity\r\n\r\n", 400, ""},
		{"unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"empty coding", post + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding with vertical tab", post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding with a parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding quoted", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, ""},
		{"coding in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},

		{"Connection names Host", get + "Connection: Host\r\n\r\n", 400, ""},
		{"Connection names Authorization", get + "Connection: close, authorization\r\n\r\n", 400, ""},
		{"Connection names Content-Length", post + "Content-Length: 0\r\nConnection: content-length\r\n\r\n", 400, ""},
		{"Connection names a forwarding field", get + "Connection: X-Forwarded-For\r\n\r\n", 400, ""},
		{"Connection names one that only looks like it", get + "Connection: X_Forwarded_Anything\r\n\r\n", 400, ""},
		{"Connection option is no token", get + "Connection: a b\r\n\r\n", 400, ""},
		{"many Connection options", get + "Connection: " + strings.Repeat("x,", 17) + "y\r\n\r\n", 400, ""},
		{"unknown expectation", post + "Content-Length: 3\r\nExpect: 200-ok\r\n\r\n", 417, ""},

		{"long target", "GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "max_uri_bytes"},
		{"long line without an end", "GET /" + strings.Repeat("a", 9<<10), 414, "max_uri_bytes"},
		{"many fields", get + strings.Repeat("X: y\r\n", 100) + "\r\n", 431, "max_header_count"},
		{"large field", get + "X: " + strings.Repeat("y", 64<<10) + "\r\n\r\n", 431, "max_header_bytes"},
		{"large field without an end", get + "X: " + strings.Repeat("y", 64<<10), 431, "max_header_bytes"},
		{"large fields", get + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 66) + "\r\n", 431, "max_header_bytes"},

		{"chunk line with bare LF", chunked + "3\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk line with bare CR", chunked + "3\rabc\r\n0\r\n\r\n", 400, ""},
		{"chunk extension with bare CR", chunked + "3;a\rb\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk extension with bare LF", chunked + "3;a\nb\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk data with bare LF", chunked + "3\r\nabc\n0\r\n\r\n", 400, ""},
		{"chunk data too long", chunked + "3\r\nabcd\r\n0\r\n\r\n", 400, ""},
		{"chunk size 0x", chunked + "0x3\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk size with sign", chunked + "+3\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"negative chunk size", chunked + "-3\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"space before the chunk size", chunked + " 3\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"space behind the chunk size", chunked + "3 \r\nabc\r\n0\r\n\r\n", 400, ""},
		{"space before the chunk extension", chunked + "3 ;a\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"empty chunk size", chunked + "\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk size of extension only", chunked + ";a\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"17 digits of chunk size", chunked + "00000000000000003\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk size that overflows", chunked + "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"chunk size one more than fits", chunked + "8000000000000000\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"underscore in chunk size", chunked + "1_0\r\nabc\r\n0\r\n\r\n", 400, ""},
		{"long chunk line", chunked + "3;" + strings.Repeat("a", 8<<10), 400, ""},
		{"long extensions together", chunked + strings.Repeat("1;"+strings.Repeat("a", 2000)+"\r\nx\r\n", 10), 400, ""},
		{"trailer with bare LF", chunked + "0\r\nX: y\n\r\n", 400, ""},
		{"trailer with obs-fold", chunked + "0\r\nX: y\r\n z\r\n\r\n", 400, ""},
		{"trailer that frames", chunked + "0\r\nContent-Length: 3\r\n\r\n", 400, ""},
		{"trailer that frames in another spelling", chunked + "0\r\ntransfer_encoding: chunked\r\n\r\n", 400, ""},
		{"trailer that routes", chunked + "0\r\nHost: b\r\n\r\n", 400, ""},
		{"many trailers", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 99) + "\r\n", 431, "max_header_count"},
		{"large trailer", chunked + "0\r\nX: " + strings.Repeat("y", 64<<10), 431, "max_header_bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var called atomic.Bool
			e := newEdge(t, stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				called.Store(true)
				return echo(ctx, req)
			}))
			p := e.dial()
			p.send(c.send)
			first, fields := p.head()
			if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); !strings.HasPrefix(first, want) {
				t.Errorf("got %q, want %q", first, want)
			}
			if got := strings.Join(fields, "\n") + "\n"; !strings.Contains(got, "Connection: close\n") {
				t.Errorf("the answer does not close the connection:\n%s", got)
			}
			closeWrite(p.nc)
			if got := p.rest(); !strings.HasSuffix(got, " "+c.limit) || strings.Contains(got, "HTTP/") {
				t.Errorf("the answer is %q, want one that names the limit %q and nothing behind it", got, c.limit)
			}
			if called.Load() && !strings.Contains(c.send, "chunked") {
				t.Error("the request went on to the service")
			}
			if ex := e.exchange(0); ex.Status != c.status {
				t.Errorf("the exchange has status %d and fault %v", ex.Status, ex.Fault)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct{ name, send, want string }{
		{"plain", get + "\r\n", `GET a / HTTP/1.1 body ""`},
		{"query", "GET /a?b=c%20d HTTP/1.1\r\nHost: a:80\r\n\r\n", `GET a:80 /a?b=c%20d HTTP/1.1 body ""`},
		{"empty line first", "\r\n" + get + "\r\n", `GET a / HTTP/1.1 body ""`},
		{"own method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", `BREW a / HTTP/1.1 body ""`},
		{"own method in lower case", "brew / HTTP/1.1\r\nHost: a\r\n\r\n", `brew a / HTTP/1.1 body ""`},
		{"absolute-form", "GET http://A.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", `GET a.example /x HTTP/1.1 body ""`},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", `OPTIONS a * HTTP/1.1 body ""`},
		{"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", `GET  / HTTP/1.0 body ""`},
		{"fields keep spelling and order", get + "x-b:1\r\nX-A: \t2 \t\r\nX-b: \r\n\r\n",
			`GET a / HTTP/1.1 x-b="1" X-A="2" X-b="" body ""`},
		{"tab and high bytes in a value", get + "X: a\tb\xe4\xff 0123456789\r\n\r\n", `GET a / HTTP/1.1 X="a\tb\xe4\xff 0123456789" body ""`},
		{"hop-by-hop fields go", get + "Connection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: trailers\r\n" +
			"Proxy-Connection: x\r\nTrailer: y\r\nX-Other: 2\r\n\r\n", `GET a / HTTP/1.1 X-Other="2" body ""`},
		{"length", post + "Content-Length: 3\r\n\r\nabc", `POST a / HTTP/1.1 body "abc"`},
		{"length 0", post + "Content-Length: 0\r\n\r\n", `POST a / HTTP/1.1 body ""`},
		{"chunked", chunked + "3\r\nabc\r\n000A\r\n0123456789\r\n0\r\n\r\n", `POST a / HTTP/1.1 body "abc0123456789"`},
		{"coding in upper case", post + "Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n0\r\n\r\n", `POST a / HTTP/1.1 body "a"`},
		{"chunk extension", chunked + "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", `POST a / HTTP/1.1 body "abc"`},
		{"16 digits of chunk size", chunked + "0000000000000003\r\nabc\r\n0\r\n\r\n", `POST a / HTTP/1.1 body "abc"`},
		{"trailers", chunked + "1\r\na\r\n0\r\nX-Sum: 9\r\nETag: e\r\nCookie: no\r\nX_Forwarded_For: no\r\nContent-Foo: no\r\n\r\n",
			`POST a / HTTP/1.1 body "a" trailer X-Sum="9" trailer ETag="e"`},
		{"upgrade", get + "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n", `GET a / HTTP/1.1 upgrade tls/1.2 body ""`},
		{"websocket", upgrade, `GET a / HTTP/1.1 Sec-WebSocket-Version="13" Sec-WebSocket-Key="` + sampleKey + `" upgrade websocket body ""`},
		{"upgrade without Connection", get + "Upgrade: websocket\r\n\r\n", `GET a / HTTP/1.1 body ""`},
		{"h2c is not upgraded to", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
			`GET a / HTTP/1.1 body ""`},
		{"upgrade list", get + "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", `GET a / HTTP/1.1 body ""`},
		{"upgrade with content", post + "Content-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\na", `POST a / HTTP/1.1 body "a"`},
		{"upgrade in 1.0", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", `GET  / HTTP/1.0 body ""`},
		{"expectation without content", get + "Expect: 100-continue\r\n\r\n", `GET a / HTTP/1.1 body ""`},
		{"target at the limit", "GET /" + strings.Repeat("a", 8<<10-1) + " HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET a /" + strings.Repeat("a", 8<<10-1) + ` HTTP/1.1 body ""`},
		{"fields at the limit", get + strings.Repeat("X: y\r\n", 99) + "\r\n", `GET a / HTTP/1.1` + strings.Repeat(` X="y"`, 99) + ` body ""`},
	} {
		for _, how := range []string{"at once", "byte by byte"} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				e := newEdge(t, echo)
				p := e.dial()
				if how == "at once" {
					p.send(c.send)
				} else if len(c.send) < 1000 {
					for i := range len(c.send) {
						p.send(c.send[i : i+1])
					}
				} else {
					t.Skip("too long")
				}
				first, fields := p.head()
				n := 0
				for _, f := range fields {
					fmt.Sscanf(f, "Content-Length: %d", &n)
				}
				if got := p.read(n); first != "HTTP/1.1 200 OK" || !cmp.Equal(got, c.want) {
					t.Errorf("got %s\n%s", first, cmp.Diff(c.want, got))
				}
			})
		}
	}
}
