package http2

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// newHTTPUpstream is an upstream made of net/http, which serves HTTP/2 in the
// clear with the code of golang.org/x/net/http2.
func newHTTPUpstream(t testing.TB, h http.HandlerFunc) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: protocols}
	var group sync.WaitGroup
	group.Go(func() { s.Serve(ln) })
	t.Cleanup(func() {
		s.Close()
		group.Wait()
	})
	return ln.Addr().String()
}

func TestClientNetHTTP(t *testing.T) {
	u := newClientSetup(t)
	address := newHTTPUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the upstream could not read the body: %v", err)
		}
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.URL, " ", r.Host, " ", len(b), " ", r.ContentLength, " ", r.Trailer.Get("x-sum"), "|"))
		switch r.URL.Path {
		case "/small":
			io.WriteString(w, "hello")
		case "/stream":
			for range 10 {
				io.WriteString(w, strings.Repeat("x", 1000))
				w.(http.Flusher).Flush()
			}
		case "/big":
			io.WriteString(w, strings.Repeat("y", 3<<20))
		case "/echo":
			w.Header().Set("Trailer", "X-Sum")
			w.Write(b)
			w.Header().Set("X-Sum", "42")
		case "/none":
			w.WriteHeader(204)
		}
	})
	c := u.dial(t, address)
	big := strings.Repeat("z", 1<<20)
	for round := range 3 {
		for _, tc := range []struct {
			method, path, body string
			streamed           bool
			want               int
			seen               string
		}{
			{"GET", "/small", "", false, 5, "GET /small example.com 0 0 |"},
			{"HEAD", "/small", "", false, 0, "HEAD /small example.com 0 0 |"},
			{"GET", "/stream", "", false, 10000, "GET /stream example.com 0 0 |"},
			{"GET", "/big", "", false, 3 << 20, "GET /big example.com 0 0 |"},
			{"GET", "/none", "", false, 0, "GET /none example.com 0 0 |"},
			{"POST", "/echo", "", false, 0, "POST /echo example.com 0 0 |"},
			{"POST", "/echo", "abc", false, 3, "POST /echo example.com 3 3 |"},
			{"PUT", "/echo", "abc", true, 3, "PUT /echo example.com 3 -1 sum|"},
			{"POST", "/echo", big, true, 1 << 20, "POST /echo example.com 1048576 -1 sum|"},
			{"POST", "/echo", big, false, 1 << 20, "POST /echo example.com 1048576 1048576 |"},
			{"PROPFIND", "/", "", false, 0, "PROPFIND / example.com 0 0 |"},
		} {
			req := clientRequest(tc.method, tc.path, nil, 0)
			if tc.body != "" {
				req.Body, req.Length = stream.BytesBody([]byte(tc.body)), int64(len(tc.body))
			}
			if tc.streamed {
				body, w := newPipeBody()
				body.trailer, body.announced = &stream.Header{}, "x-sum"
				body.trailer.Add("X-Sum", "sum")
				go func() {
					io.WriteString(w, tc.body)
					w.Close()
				}()
				req.Body, req.Length = body, -1
			}
			resp, err := do(t, c, req)
			if err != nil {
				t.Fatalf("%d: %s %s: %v", round, tc.method, tc.path, err)
			}
			got := readAll(t, resp)
			if seen, _ := resp.Header.Get("x-seen"); len(got) != tc.want || seen != tc.seen {
				t.Errorf("%d: %s %s: %d bytes, seen %q; want %d, %q", round, tc.method, tc.path, len(got), seen, tc.want, tc.seen)
			}
			if tc.path == "/echo" {
				if trailer := resp.Body.Trailer(); trailer == nil || trailer.Len() != 1 {
					t.Errorf("%d: trailer %v", round, trailer)
				}
			}
			resp.Body.Close()
			resp.Body.Close()
			if req.Exchange.UpstreamEnd.IsZero() {
				t.Error("the end is not noted")
			}
		}
	}
	if c.places.Load() != 0 || u.ended.Load() != 33 || streamsOf(c) != 0 {
		t.Errorf("%d places, %d ended, %d streams", c.places.Load(), u.ended.Load(), streamsOf(c))
	}
}

// Trailers stand behind a body of a declared length, too, and are announced:
// there are servers that show no others.
func TestClientTrailerBehindALength(t *testing.T) {
	u := newClientSetup(t)
	address := newHTTPUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Seen", r.Trailer.Get("X-Sum"))
	})
	req := clientRequest("PUT", "/", nil, 0)
	body, w := newPipeBody()
	body.trailer, body.announced = &stream.Header{}, "x-sum"
	body.trailer.Add("X-Sum", "sum")
	go func() {
		io.WriteString(w, "abc")
		w.Close()
	}()
	req.Body, req.Length = body, 3
	resp, err := do(t, u.dial(t, address), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if seen, _ := resp.Header.Get("x-seen"); seen != "sum" {
		t.Errorf("the upstream saw %q", seen)
	}
}

// Under TLS the bytes come by the record, and the descriptor is not ours.
func TestClientTLS(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.Scheme = "https"
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		io.Copy(w, r.Body)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	nc, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	c := u.connect(t, nc)
	if err := c.Ready(t.Context(), time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			want := strings.Repeat("x", i*i*10_000)
			resp, err := do(t, c, clientRequest("POST", "/", stream.BytesBody([]byte(want)), int64(len(want))))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if proto, _ := resp.Header.Get("x-proto"); proto != "HTTP/2.0" {
				t.Error(proto)
			}
			if got := readAll(t, resp); got != want {
				t.Errorf("%d bytes came back of %d", len(got), len(want))
			}
		})
	}
	group.Wait()
	c.Close()
	<-c.Done()
}

// Many at once, over one connection.
func TestClientConcurrent(t *testing.T) {
	u := newClientSetup(t)
	address := newHTTPUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	c := u.dial(t, address)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for n := range 20 {
				want := strings.Repeat(string(rune('a'+i%26)), 1+(i*7919+n*104729)%60000)
				resp, err := do(t, c, clientRequest("POST", "/", stream.BytesBody([]byte(want)), int64(len(want))))
				if err != nil {
					t.Error(err)
					return
				}
				if got := readAll(t, resp); got != want {
					t.Errorf("%d bytes came back of %d, or others", len(got), len(want))
				}
				resp.Body.Close()
			}
		})
	}
	group.Wait()
	if c.places.Load() != 0 || u.ended.Load() != 1000 {
		t.Errorf("%d places, %d ended", c.places.Load(), u.ended.Load())
	}
	c.Retire()
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Error("a retired connection without exchanges is still open")
	}
}
