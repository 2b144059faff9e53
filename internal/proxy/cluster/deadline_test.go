package cluster

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

func deadlines(least time.Duration) Policy {
	p := retries(3, "503")
	d := config.Default[config.Deadline]()
	d.Least = config.Duration(least)
	p.Timeout, p.Deadline = 5*time.Second, &d
	p.Retry.BackoffBase, p.Retry.BackoffMax = 0, 0
	return p
}

// TestDeadlineIsReduced by the time that was spent before the request came here,
// and by each attempt.
func TestDeadlineIsReduced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			says string // by the client; "": nothing
			want string // of three attempts that take 100 ms each
		}{
			{"1000", "[800 700 600]"},
			{"60000", "[5000 4900 4800]"}, // the route waits for less
			{"", "[5000 4900 4800]"},
		} {
			f := newFixture(3, nil)
			var told []string
			for _, u := range f.up {
				u.serve = func(_ context.Context, req *stream.Request) (*stream.Response, error) {
					left, _ := req.Header.Get("weir-timeout-ms")
					told = append(told, left)
					time.Sleep(100 * time.Millisecond)
					return u.respond(503), nil
				}
			}
			req := request("GET")
			req.Exchange.Start = time.Now()
			if c.says != "" {
				req.Header.Add("Weir-Timeout-Ms", c.says)
			}
			time.Sleep(200 * time.Millisecond) // of a filter, say
			outcome(f.ForRoute(deadlines(0)).Serve(t.Context(), req))
			if fmt.Sprint(told) != c.want {
				t.Errorf("client %q: endpoints are told %v, want %s", c.says, told, c.want)
			}
			f.quiet(t)
		}
	})
}

// TestDeadlineRefuses what cannot be done in time, before and between attempts.
func TestDeadlineRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			says  string
			want  string
			made  int
			limit string
		}{
			{"50", "request_timeout", 0, "deadline"}, // less than least
			{"0", "request_timeout", 0, "deadline"},
			{"250", "503", 2, ""}, // no time for a third
			{"9999", "503", 3, ""},
			{"-1", "request_malformed", 0, ""},
			{"1e3", "request_malformed", 0, ""},
			{"", "request_malformed", 0, ""},
			{"9999999999999", "request_malformed", 0, ""},
		} {
			f := newFixture(3, nil)
			for _, u := range f.up {
				u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
					time.Sleep(75 * time.Millisecond)
					return u.respond(503), nil
				}
			}
			req := request("GET")
			req.Header.Add("Weir-Timeout-Ms", c.says)
			body := newStreamed("x")
			if c.made == 0 {
				req.Body = body
			}
			resp, err := f.ForRoute(deadlines(100*time.Millisecond)).Serve(t.Context(), req)
			if got := outcome(resp, err); got != c.want || req.Exchange.Attempts != c.made {
				t.Errorf("%q: %s after %d attempts, want %s after %d", c.says, got, req.Exchange.Attempts, c.want, c.made)
			}
			if err != nil && c.limit != stream.AsFault(err).Limit {
				t.Errorf("%q: limit %q, want %q", c.says, stream.AsFault(err).Limit, c.limit)
			}
			if c.made == 0 && !body.closed {
				t.Errorf("%q: the body stays open", c.says)
			}
			f.quiet(t)
		}
	})
}

// TestDeadlineTwice: which of two would the endpoint believe?
func TestDeadlineTwice(t *testing.T) {
	f := newFixture(1, nil)
	req := request("GET")
	req.Header.Add("Weir-Timeout-Ms", "1000")
	req.Header.Add("Weir-Timeout-Ms", "2000")
	if got := outcome(f.ForRoute(deadlines(0)).Serve(t.Context(), req)); got != "request_malformed" {
		t.Error(got)
	}
}
