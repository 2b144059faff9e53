package pool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// within is a load whose endpoints have limits of their own.
func within(by endpoint.Limits) *endpoint.Load {
	load := endpoint.NewLoad(0, 0)
	load.LimitEndpoints(by)
	return load
}

// TestEndpointMaxConnections: one endpoint is at its limit, another is not; an idle
// connection that cannot be used makes place for one that can.
func TestEndpointMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newLimited(within(endpoint.Limits{Connections: 2}), Config{MaxIdle: 10})
		b := newMember(a.group, a.load)
		open := a.begin(t, 2)
		_, err := a.Serve(t.Context(), request())
		if f := stream.AsFault(err); f.Limit != endpoint.FullConnections || f.Retry != stream.RetryUnsent || a.group.Stats.Refused.Load() != 1 {
			t.Fatalf("third connection: %v", err)
		}
		finish(b.begin(t, 2))
		finish(open)
		req := request()
		req.Fresh = true
		resp, err := a.Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		a.expect(t, 2, 2, 3)
		b.expect(t, 2, 2, 2)
		a.Drain()
		b.Drain()
		for range 2 { // every place was given back
			if f := a.ep.Open(); f != nil {
				t.Error(f)
			}
		}
	})
}

// TestEndpointMaxPending: so many wait for a connection, while it is opened, and no
// more; then all may wait again.
func TestEndpointMaxPending(t *testing.T) {
	for name, serve := range map[string]func(t *testing.T) (func(context.Context, *stream.Request) (*stream.Response, error), *endpoint.Endpoint){
		"each with its own": func(*testing.T) (func(context.Context, *stream.Request) (*stream.Response, error), *endpoint.Endpoint) {
			f := newAutoFixture()
			f.load.LimitEndpoints(endpoint.Limits{Pending: 3})
			f.takes = time.Second
			f.spoken.Store(speaksSingle)
			return f.single.Serve, f.single.endpoint
		},
		"one for all": func(*testing.T) (func(context.Context, *stream.Request) (*stream.Response, error), *endpoint.Endpoint) {
			f := newMuxLimited(within(endpoint.Limits{Pending: 3}), Config{MaxIdle: 10}, 10)
			f.takes = time.Second
			return f.attempt, f.endpoint
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempt, ep := serve(t)
				var all sync.WaitGroup
				var mu sync.Mutex
				got := map[string]int{}
				for range 5 {
					all.Go(func() {
						_, err := attempt(t.Context(), request())
						what := "served"
						if err != nil {
							what = stream.AsFault(err).Limit
						}
						mu.Lock()
						defer mu.Unlock()
						got[what]++
					})
				}
				synctest.Wait()
				if st := ep.Status(time.Now()); st.Pending != 3 || !st.Full {
					t.Errorf("%d wait, full %v", st.Pending, st.Full)
				}
				all.Wait()
				if got[endpoint.FullPending] != 2 || ep.Status(time.Now()).Pending != 0 {
					t.Errorf("%v, %d still wait", got, ep.Status(time.Now()).Pending)
				}
				if name == "one for all" && got["served"] != 3 {
					t.Errorf("%v", got)
				}
			})
		})
	}
}

// TestMuxEndpointMaxConnections: a request for which the streams of all connections
// are in use is turned away, and those after it find a place again.
func TestMuxEndpointMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newMuxLimited(within(endpoint.Limits{Connections: 2}), Config{MaxIdle: 10}, 3)
		open := f.begin(t, 6)
		_, err := f.attempt(t.Context(), request())
		if fault := stream.AsFault(err); fault.Limit != endpoint.FullConnections || fault.Retry != stream.RetryUnsent {
			t.Fatalf("seventh request: %v", err)
		}
		finish(open[:1])
		finish(f.begin(t, 1))
		finish(open[1:])
		f.expect(t, 2, 2, 2)
		f.Drain()
	})
}
