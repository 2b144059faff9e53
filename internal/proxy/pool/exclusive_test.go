package pool

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Every exchange has its own connection, which is closed behind it, and knows
// whose it is.
func TestExclusive(t *testing.T) {
	f := newFixture(Config{MaxIdle: 10})
	var asked []*stream.Request
	x := NewExclusive(f.group, f.ep, func(_ context.Context, req *stream.Request, _ time.Time, release func(bool)) (*fakeConn, error) {
		asked = append(asked, req)
		if f.err != nil {
			return nil, f.err
		}
		c := &fakeConn{number: len(f.conns), release: release}
		c.serve = func(*stream.Request) (*stream.Response, error) { return c.respond(), nil }
		f.conns = append(f.conns, c)
		return c, nil
	})
	serve := func() (*stream.Request, *stream.Response, error) {
		req := request()
		f.load.Enter()
		f.ep.Began()
		resp, err := x.Serve(t.Context(), req)
		return req, resp, err
	}
	for i := range 3 {
		req, resp, err := serve()
		if err != nil || asked[i] != req || req.Exchange.Reused {
			t.Fatalf("exchange %d: %v, for %p, asked for %p", i, err, req, asked[i])
		}
		if open, idle := x.Connections(); open != 1 || idle != 0 {
			t.Fatalf("exchange %d: %d open, %d idle", i, open, idle)
		}
		resp.Body.Close()
		if open, _ := x.Connections(); open != 0 || !f.conns[i].closed.Load() || f.load.Connections() != 0 || f.load.Requests() != 0 {
			t.Fatalf("exchange %d left %d open, its connection closed: %v", i, open, f.conns[i].closed.Load())
		}
	}
	f.err = stream.Faultf(stream.ConnectRefused, stream.RetryUnsent, "refused")
	if _, _, err := serve(); !errors.Is(err, f.err) || f.load.Connections() != 0 {
		t.Fatalf("a failed dial gives %v and leaves %d connections", err, f.load.Connections())
	}
}
