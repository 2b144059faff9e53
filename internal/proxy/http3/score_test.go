package http3

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A score ends a connection above its limit and not at it, and forgets a twentieth
// of the limit each second.
func TestScore(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		wait  time.Duration
		want  int // additions of ten points that pass, behind the first ten and the wait
	}{
		{"own limit", 100, 0, 0},
		{"own limit, half forgiven", 100, 10 * time.Second, 5},
		{"all forgiven", 100, time.Hour, 10},
		{"default", 0, 0, 190},
	} {
		synctest.Test(t, func(t *testing.T) {
			over := 0
			var s score
			s.begin(c.limit, time.Now(), func() { over++ })
			for range 10 {
				if err := s.add(10); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			time.Sleep(c.wait)
			got := 0
			for s.add(10) == nil {
				got++
			}
			if _ = s.add(10); got != c.want || over != 1 {
				t.Errorf("%s: %d more pass, told %d times; want %d, once", c.name, got, over, c.want)
			}
		})
	}
}

// What endpoints do is counted.
func TestClientStats(t *testing.T) {
	c, _ := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reset" {
			panic(http.ErrAbortHandler)
		}
	})
	s := &c.d.Stats
	resp, err := ask(t, c, request("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := ask(t, c, request("GET", "/reset")); err == nil {
		t.Fatal("a response to a request whose stream was reset")
	}
	if s.Open.Load() != 1 || s.Streams.Load() != 2 || s.Resets.Load() != 1 || s.Canceled.Load() != 1 || s.Unprocessed.Load() != 0 {
		t.Errorf("open %d, streams %d, resets %d, canceled %d, unprocessed %d; want 1, 2, 1, 1, 0",
			s.Open.Load(), s.Streams.Load(), s.Resets.Load(), s.Canceled.Load(), s.Unprocessed.Load())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
}
