package http1

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
	e := newEdge(t, newPool(t, o))
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
}
