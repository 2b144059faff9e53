package http3

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	quichttp3 "github.com/quic-go/quic-go/http3"
	"github.com/weirproxy/weir/stream"
)

// echo answers with what came.
func echo(_ context.Context, req *stream.Request) (*stream.Response, error) {
	var in bytes.Buffer
	_, err := io.Copy(&in, req.Body)
	if err != nil {
		req.Body.Close()
		return nil, err
	}
	resp := &stream.Response{Status: 200, Length: int64(in.Len()), Body: stream.BytesBody(in.Bytes())}
	resp.Header.Add("X-Method", req.Method)
	resp.Header.Add("X-Path", req.Target.RequestURI())
	if cookie, ok := req.Header.GetID(stream.Cookie); ok {
		resp.Header.Add("X-Cookie", cookie)
	}
	if trailer := req.Body.Trailer(); trailer != nil {
		v, _ := trailer.Get("x-sum")
		resp.Header.Add("X-Trailer", v)
	}
	req.Body.Close()
	return resp, nil
}

func httpClient(t *testing.T, ts *testServer) (*http.Client, *quichttp3.Transport) {
	tr := &quichttp3.Transport{TLSClientConfig: ts.client}
	t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}, tr
}

func url(ts *testServer, path string) string { return "https://" + ts.addr.String() + path }

func TestServerWithQuicGoClient(t *testing.T) {
	ts := serve(t, echo, nil)
	client, _ := httpClient(t, ts)
	big := strings.Repeat("0123456789abcdef", 256<<10/16*8)
	for _, test := range []struct{ method, body string }{
		{"GET", ""}, {"POST", "hello"}, {"PUT", big}, {"HEAD", ""}, {"DELETE", ""},
	} {
		t.Run(test.method, func(t *testing.T) {
			var body io.Reader
			if test.body != "" {
				body = strings.NewReader(test.body)
			}
			req, _ := http.NewRequest(test.method, url(ts, "/a/../b?q=1"), body)
			req.Header.Set("Cookie", "a=1; b=2")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.body || resp.StatusCode != 200 {
				t.Errorf("status %d, %d bytes; want 200, %d", resp.StatusCode, len(got), len(test.body))
			}
			if resp.Header.Get("X-Method") != test.method || resp.Header.Get("X-Path") != "/b?q=1" || resp.Header.Get("Date") == "" {
				t.Errorf("header %v", resp.Header)
			}
			if resp.Header.Get("X-Cookie") != "a=1; b=2" {
				t.Errorf("cookie %q", resp.Header.Get("X-Cookie"))
			}
		})
	}
}

func TestRequestTrailer(t *testing.T) {
	ts := serve(t, echo, nil)
	client, _ := httpClient(t, ts)
	req, _ := http.NewRequest("POST", url(ts, "/"), io.NopCloser(strings.NewReader("x")))
	req.Trailer = http.Header{"X-Sum": {"42"}, "X-Forwarded-For": {"1.2.3.4"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("X-Trailer") != "42" {
		t.Errorf("trailer %q", resp.Header.Get("X-Trailer"))
	}
}

// upstream is quic-go's server.
func upstream(t *testing.T, handler http.HandlerFunc) (*Client, *atomic.Int64) {
	serverTLS, clientTLS := identity(t)
	pc := udp(t)
	srv := &quichttp3.Server{Handler: handler, TLSConfig: serverTLS}
	over := make(chan struct{})
	go func() { defer close(over); srv.Serve(pc) }()
	t.Cleanup(func() { srv.Close(); <-over; pc.Close() })
	ended := new(atomic.Int64)
	addr := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	return dial(t, netip.AddrPortFrom(addr.Addr(), addr.Port()), clientTLS, func() { ended.Add(1) }), ended
}

func TestClientWithQuicGoServer(t *testing.T) {
	c, ended := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(103)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Path", r.URL.RequestURI())
		n, _ := io.Copy(w, r.Body)
		_ = n
		w.Header().Set("X-Sum", "42")
	})
	big := bytes.Repeat([]byte("weir"), 1<<20)
	for i, body := range [][]byte{nil, []byte("small"), big} {
		req := request("POST", "/x?y")
		if body != nil {
			req.Body, req.Length = stream.BytesBody(body), int64(len(body))
		}
		interims := 0
		req.Interim = func(status int, _ *stream.Header) error { interims++; return nil }
		resp, err := ask(t, c, req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, body) || resp.Status != 200 || interims != 1 {
			t.Errorf("%d: status %d, %d bytes, %d interim responses", i, resp.Status, len(got), interims)
		}
		if v, _ := resp.Header.Get("x-path"); v != "/x?y" {
			t.Errorf("path %q", v)
		}
		if tr := resp.Body.Trailer(); tr == nil {
			t.Error("no trailer")
		} else if v, _ := tr.Get("x-sum"); v != "42" {
			t.Errorf("trailer %q", v)
		}
		resp.Body.Close()
		resp.Body.Close()
		if ended.Load() != int64(i+1) || req.Exchange.UpstreamEnd.IsZero() {
			t.Errorf("ended %d times", ended.Load())
		}
	}
}

// announcing is a body with trailers.
type announcing struct {
	stream.Body
	trailer stream.Header
}

func (a *announcing) Announced() string       { return "x-sum" }
func (a *announcing) Trailer() *stream.Header { return &a.trailer }

// Trailers stand behind a body of a declared length, too, and are announced.
func TestClientTrailerBehindALength(t *testing.T) {
	c, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, announced := r.Trailer["X-Sum"]
		io.Copy(io.Discard, r.Body)
		if announced {
			w.Header().Set("X-Seen", r.Trailer.Get("X-Sum"))
		}
	})
	body := &announcing{Body: stream.BytesBody([]byte("abc"))}
	body.trailer.Add("X-Sum", "sum")
	req := request("PUT", "/")
	req.Body, req.Length = body, 3
	resp, err := ask(t, c, req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if seen, _ := resp.Header.Get("x-seen"); seen != "sum" {
		t.Errorf("the upstream saw %q", seen)
	}
}

func TestClientStopsReading(t *testing.T) {
	gone := make(chan struct{})
	c, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		p := make([]byte, 64<<10)
		for {
			if _, err := w.Write(p); err != nil {
				close(gone)
				return
			}
		}
	})
	resp, err := ask(t, c, request("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-gone
}

// Both halves of ours, one behind the other, carry a tunnel that closes by halves.
func TestExtendedConnectThroughBothHalves(t *testing.T) {
	ts := serve(t, func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Method != "GET" || req.Upgrade != "websocket" {
			return text(400, req.Method+" "+req.Upgrade), nil
		}
		a, b := net.Pipe()
		go func() { io.Copy(b, b) }()
		return &stream.Response{Status: 101, Length: -1, Body: &pipe{a, b}}, nil
	}, nil)
	c := dial(t, ts.addr, ts.client, nil)
	req := request("GET", "/chat")
	req.Upgrade = "websocket"
	resp, err := ask(t, c, req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	d, ok := resp.Body.(stream.Duplex)
	if resp.Status != 101 || !ok {
		t.Fatalf("status %d, duplex %v", resp.Status, ok)
	}
	for range 3 {
		if _, err := d.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		var got [4]byte
		if _, err := io.ReadFull(d, got[:]); err != nil || string(got[:]) != "ping" {
			t.Fatal(err, string(got[:]))
		}
	}
	if err := d.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d, %v; want the end", n, err)
	}
}

// oneWay is the upstream end of a tunnel that says something, ends its side and
// goes on to listen.
type oneWay struct {
	io.Reader
	heard chan string
	got   bytes.Buffer
}

func (o *oneWay) Write(b []byte) (int, error) { return o.got.Write(b) }
func (o *oneWay) CloseWrite() error           { o.heard <- o.got.String(); return nil }
func (o *oneWay) Close() error                { return nil }
func (o *oneWay) Trailer() *stream.Header     { return nil }

// An upstream that has ended its side of a tunnel still hears what the client
// says, and what it said before is not taken back.
func TestTunnelWhoseUpstreamEndsFirst(t *testing.T) {
	said, heard := strings.Repeat("last words ", 1<<16), make(chan string, 1)
	ts := serve(t, func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		context.AfterFunc(ctx, func() { heard <- "nothing: the context has ended" })
		return &stream.Response{Status: 101, Length: -1, Body: &oneWay{Reader: strings.NewReader(said), heard: heard}}, nil
	}, nil)
	c := dial(t, ts.addr, ts.client, nil)
	req := request("GET", "/")
	req.Upgrade = "websocket"
	resp, err := ask(t, c, req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	d := resp.Body.(stream.Duplex)
	if got, err := io.ReadAll(d); err != nil || string(got) != said {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(said))
	}
	if _, err := d.Write([]byte("and mine")); err != nil {
		t.Fatal(err)
	}
	if err := d.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "and mine" {
		t.Errorf("the upstream heard %q", got)
	}
}

// pipe is a Duplex whose other end is b.
type pipe struct{ a, b net.Conn }

func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.a.Read(b)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
func (p *pipe) Write(b []byte) (int, error) { return p.a.Write(b) }
func (p *pipe) CloseWrite() error           { return p.b.Close() }
func (p *pipe) Close() error                { p.b.Close(); return p.a.Close() }
func (p *pipe) Trailer() *stream.Header     { return nil }

// The end of a tunnel may be asked for by several at once: the stage around it,
// and the two goroutines that carry.
func TestTunnelClosedTwice(t *testing.T) {
	ts := serve(t, func(context.Context, *stream.Request) (*stream.Response, error) {
		a, b := net.Pipe()
		return &stream.Response{Status: 101, Length: -1, Body: &pipe{a, b}}, nil
	}, nil)
	g, req := newGate(), request("GET", "/")
	req.Upgrade, req.Body = "websocket", g
	resp, err := ask(t, dial(t, ts.addr, ts.client, nil), req)
	if err != nil {
		t.Fatal(err)
	}
	g.closeTwice(t, resp.Body)
}

// gate is a request body whose Close waits to be let through.
type gate struct {
	stream.Body
	reached, open chan struct{}
	armed, passed atomic.Bool
}

func newGate() *gate {
	return &gate{Body: stream.NoBody, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) Close() error {
	if g.armed.Load() {
		close(g.reached)
		<-g.open
		g.passed.Store(true)
	}
	return nil
}

// closeTwice closes d twice at once. Neither call may return before the request
// is not used any more: its owner makes another one of it.
func (g *gate) closeTwice(t *testing.T, d stream.Body) {
	t.Helper()
	g.armed.Store(true)
	returned := make(chan bool, 2)
	for range 2 {
		go func() {
			d.Close()
			returned <- g.passed.Load()
		}()
	}
	<-g.reached
	select {
	case <-returned:
		t.Error("Close returned while the other call still used the request")
	case <-time.After(20 * time.Millisecond): // nothing can be waited for: it must not happen
	}
	close(g.open)
	if passed := <-returned; !passed {
		t.Error("Close returned before the exchange was over")
	}
}
