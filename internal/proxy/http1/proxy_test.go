package http1

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// newHTTPOrigin is an upstream made of net/http.
func newHTTPOrigin(t testing.TB, h http.HandlerFunc) *origin {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &origin{t: t, ln: s.Listener}
}

func TestProxyNetHTTP(t *testing.T) {
	o := newHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the upstream could not read the body: %v", err)
		}
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.URL, " ", len(b)))
		switch r.URL.Path {
		case "/small":
			io.WriteString(w, "hello")
		case "/stream":
			for range 10 {
				io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/big":
			io.WriteString(w, strings.Repeat("y", 1<<20))
		case "/echo":
			w.Write(b)
		}
	})
	pool := newPool(t, o)
	e := newEdge(t, pool)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 3 {
		for _, c := range []struct {
			method, path, body string
			length             bool
			want               int
		}{
			{"GET", "/small", "", true, 5},
			{"HEAD", "/small", "", true, 0},
			{"GET", "/stream?a=b", "", true, 10000},
			{"GET", "/big", "", true, 1 << 20},
			{"POST", "/echo", "abc", true, 3},
			{"POST", "/echo", strings.Repeat("z", 100<<10), true, 100 << 10},
			{"POST", "/echo", strings.Repeat("z", 100<<10), false, 100 << 10},
			{"PUT", "/echo", "q", false, 1},
		} {
			var body io.Reader = strings.NewReader(c.body)
			if !c.length {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequest(c.method, "http://"+e.ln.Addr().String()+c.path, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatalf("%d %s %s: %v", i, c.method, c.path, err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || len(b) != c.want || resp.StatusCode != 200 {
				t.Errorf("%d %s %s: status %d, %d bytes, %v", i, c.method, c.path, resp.StatusCode, len(b), err)
			}
			if got, want := resp.Header.Get("X-Seen"), fmt.Sprint(c.method, " ", c.path, " ", len(c.body)); got != want {
				t.Errorf("the upstream saw %q, want %q", got, want)
			}
		}
	}
	if n := e.Stats.Opened.Load(); n != 1 {
		t.Errorf("the client needed %d connections, want 1", n)
	}
	if pool.made != 1 {
		t.Errorf("the proxy needed %d connections, want 1", pool.made)
	}
}

// The body that the proxy measured is the body that the upstream reads, and
// nothing follows it: {how the client frames it} x {what the request is}.
func TestNoSmuggling(t *testing.T) {
	const inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct{ name, send, want string }{
		{"length", post + "Content-Length: 35\r\n\r\n" + inner, "Content-Length: 35\r\n\r\n" + inner},
		{"chunked", chunked + "23\r\n" + inner + "\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n23\r\n" + inner + "\r\n0\r\n\r\n"},
		{"length in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 35\r\nConnection: keep-alive\r\n\r\n" + inner, "Content-Length: 35\r\n\r\n" + inner},
		{"get with a body", get + "Content-Length: 35\r\n\r\n" + inner, "Content-Length: 35\r\n\r\n" + inner},
		{"chunked with an extension", chunked + "23;a=\"b\"\r\n" + inner + "\r\n0;c\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n23\r\n" + inner + "\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			e := newEdge(t, newPool(t, o))
			p := e.dial()
			p.send(c.send + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
			up := o.accept()
			up.r.ReadString('\n')
			up.want("Host: a\r\n" + c.want)
			up.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			p.head()
			if first, _ := up.head(); first != "GET /next HTTP/1.1" {
				t.Errorf("the next request is %q", first)
			}
			up.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			p.head()
		})
	}
}

// A chunked request that breaks a rule half way never gets its end upstream.
func TestBadChunkUpstream(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, faultsAnswered(pool))
	p := e.dial()
	p.send(chunked + "3\r\nabc\r\n0x1\r\n")
	up := o.accept()
	if got := up.rest(); strings.Contains(got, "0\r\n\r\n") || !strings.HasPrefix(got, "POST / HTTP/1.1\r\n") {
		t.Errorf("the upstream got %q", got)
	}
	if first, _ := p.head(); first != "HTTP/1.1 400 Bad Request" {
		t.Errorf("the client got %q", first)
	}
	pool.wantFreed(false)
}

// faultsAnswered makes responses of faults, as the answer stage does.
func faultsAnswered(next stream.Service) stream.Service {
	return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		resp, err := next.Serve(ctx, req)
		if err != nil {
			req.Exchange.Fault = stream.AsFault(err)
			return refuse(ctx, req, req.Exchange.Fault), nil
		}
		return resp, nil
	})
}

// What an upstream does wrong, seen from the client.
func TestUpstreamMisbehaves(t *testing.T) {
	for _, c := range []struct {
		name, send string
		want       string // what the client gets
		cut        bool   // and then the connection ends
		fault      string
	}{
		{"closes", "", "HTTP/1.1 502 Bad Gateway\r\n", false, "upstream_closed"},
		{"garbage", "!!!\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n", false, "response_malformed"},
		{"huge head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 65<<10), "HTTP/1.1 502 Bad Gateway\r\n", false, "response_too_large (max_header_bytes)"},
		{"short body", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 10\r\n\r\nabc",
			"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 10\r\n\r\nabc", true, "response_truncated"},
		{"chunked body without its end", "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
			"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, "response_truncated"},
		{"chunked body with a bad chunk", "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\n",
			"HTTP/1.1 502 Bad Gateway\r\n", false, "response_malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrigin(t)
			pool := newPool(t, o)
			e := newEdge(t, faultsAnswered(pool))
			p := e.dial()
			p.send(get + "\r\n")
			up := o.accept()
			up.head()
			up.send(c.send)
			closeWrite(up.nc)
			p.want(c.want)
			ex := e.exchange(0)
			if got := faultText(ex.Fault); got != c.fault {
				t.Errorf("the exchange has fault %q, want %q", got, c.fault)
			}
			pool.wantFreed(false)
			if c.cut {
				if rest := p.rest(); rest != "" {
					t.Errorf("%q behind what came", rest)
				}
				return
			}
			p.send(get + "\r\n") // the client's connection lives on
			o.accept().head()
		})
	}
}

// An upstream that ends a response by closing, cut off by a reset, must not
// look complete to a 1.0 client.
func TestCutToClose(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	p.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	p.want("HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\n\r\nabc")
	up.nc.Close()
	if _, err := p.r.ReadByte(); err == nil || err == io.EOF {
		t.Errorf("the cut connection ends with %v, want an error", err)
	}
	if n := e.Stats.Cut.Load(); n != 1 {
		t.Errorf("%d connections cut", n)
	}
}

func TestInterimAndTrailersThrough(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	for range 2 {
		p.send(get + "\r\n")
	}
	up := o.accept()
	for range 2 {
		up.head()
		up.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
		p.want("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
		up.send("HTTP/1.1 200 OK\r\nDate: x\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\nSet-Cookie: no\r\n\r\n")
		p.want("HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n")
	}
}

// Expect: 100-continue: both connections stay right whatever the upstream does
// (CVE-2024-24791).
func TestExpectThrough(t *testing.T) {
	const head = post + "Content-Length: 20000\r\nExpect: 100-continue\r\n\r\n"
	content := strings.Repeat("x", 20000)
	t.Run("upstream reads", func(t *testing.T) {
		o := newOrigin(t)
		pool := newPool(t, o)
		p := newEdge(t, pool).dial()
		var up *peer
		for range 2 {
			p.send(head)
			if up == nil {
				up = o.accept()
			}
			up.want("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
			p.want(continueHead)
			p.send(content)
			up.want(content)
			up.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			p.head()
			p.want("ok")
			pool.wantFreed(true)
		}
	})
	t.Run("upstream refuses without reading", func(t *testing.T) {
		o := newOrigin(t)
		pool := newPool(t, o)
		e := newEdge(t, pool)
		p := e.dial()
		p.send(head)
		up := o.accept()
		up.head()
		up.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		first, _ := p.head()
		if first == "HTTP/1.1 100 Continue" {
			first, _ = p.head()
		}
		p.want("no")
		if first != "HTTP/1.1 403 Forbidden" {
			t.Errorf("got %q", first)
		}
		pool.wantFreed(false)
		// What the client sends now is content, or nothing, but no request.
		p.nc.Write([]byte("GET /in-the-body HTTP/1.1\r\nHost: a\r\n\r\n"))
		closeWrite(p.nc)
		if rest := p.rest(); rest != "" || e.Requests() != 1 {
			t.Errorf("%q behind the response, %d requests", rest, e.Requests())
		}
	})
}

// The client closes while the upstream works: the attempt ends.
func TestClientGoneThrough(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool)
	p := e.dial()
	p.send(get + "\r\n")
	up := o.accept()
	up.head()
	p.nc.Close()
	if rest := up.rest(); rest != "" {
		t.Errorf("the upstream got %q", rest)
	}
	pool.wantFreed(false)
	if f := e.exchange(0).Fault; f == nil || f.Kind != stream.ClientGone {
		t.Errorf("the exchange has fault %v", f)
	}
}

// A client that closes inside its body is not the upstream's fault.
func TestClientGoneInBody(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, faultsAnswered(pool))
	p := e.dial()
	p.send(post + "Content-Length: 20000\r\n\r\nabc")
	up := o.accept()
	up.head()
	up.want("abc")
	p.nc.Close()
	up.rest()
	pool.wantFreed(false)
	if f := e.exchange(0).Fault; f == nil || f.Kind != stream.ClientGone {
		t.Errorf("the exchange has fault %v", f)
	}
}

// A client that does not read: the exchange ends, and so does the upstream's.
func TestClientDoesNotRead(t *testing.T) {
	o := newOrigin(t)
	pool := newPool(t, o)
	e := newEdge(t, pool, func(cfg *ServerConfig) {
		cfg.Phases[stream.PhaseWrite] = stream.PhaseLimit{Idle: 500 * time.Millisecond}
	})
	p := e.dial()
	p.send(get + "\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
	piece := make([]byte, 1<<20)
	for {
		if _, err := up.nc.Write(piece); err != nil {
			break
		}
	}
	pool.wantFreed(false)
	if f := e.exchange(0).Fault; f == nil || f.Kind != stream.ClientTooSlow {
		t.Errorf("the exchange has fault %v", f)
	}
}

// Many clients at once: every answer belongs to its request.
func TestConcurrent(t *testing.T) {
	o := newHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(403) // without a look at the body
			return
		}
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Path", r.URL.Path)
		if len(b)%2 == 1 {
			w.(http.Flusher).Flush() // chunked
		}
		w.Write(b)
	})
	e := newEdge(t, faultsAnswered(newPool(t, o)))
	var all goes
	for g := range 16 {
		all.run(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range 30 {
				path := fmt.Sprintf("/%d/%d", g, i)
				if i%7 == 3 {
					path = "/refuse"
				}
				body := strings.Repeat(string(rune('a'+g)), (i*i*i*37)%60000)
				resp, err := client.Post("http://"+e.ln.Addr().String()+path, "text/plain", strings.NewReader(body))
				if path == "/refuse" && err != nil {
					continue // the client may see the close before the answer
				}
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if path == "/refuse" {
					continue
				}
				if err != nil || string(b) != body || resp.Header.Get("X-Path") != path {
					t.Errorf("%s: status %d, path %q, %d of %d bytes, %v", path, resp.StatusCode, resp.Header.Get("X-Path"), len(b), len(body), err)
				}
			}
		})
	}
	all.Wait()
}
