package endpoint

import (
	"math"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

func limited(n int, load *Load, by Limits) []*Endpoint {
	load.LimitEndpoints(by)
	list := make([]*Endpoint, n)
	for i := range list {
		list[i] = New(Spec{Network: "tcp", Address: string(rune('a' + i)), Weight: 1}, load, time.Now())
	}
	return list
}

func TestLimits(t *testing.T) {
	load := NewLoad(0, 3)
	e := limited(2, load, Limits{Requests: 2, Connections: 2, Pending: 1})
	for _, c := range []struct {
		what  string
		take  func() *stream.Fault
		give  func()
		most  int
		limit string
	}{
		{"requests", e[0].Began, e[0].Aborted, 2, FullRequests},
		{"connections", e[0].Open, e[0].Closed, 2, FullConnections},
		{"pending", e[0].Wait, e[0].Waited, 1, FullPending},
	} {
		for range 2 { // what was given back is there again
			for range c.most {
				if f := c.take(); f != nil {
					t.Fatalf("%s: %v", c.what, f)
				}
			}
			f := c.take()
			if f == nil || f.Kind != stream.ClusterFull || f.Retry != stream.RetryUnsent || f.Limit != c.limit || !IsFull(f) {
				t.Errorf("%s: %v", c.what, f)
			}
			for range c.most {
				c.give()
			}
		}
	}
	if n := e[0].Attempts(); n != 4 {
		t.Errorf("%d attempts counted, those that did not begin are none", n)
	}
	for _, ep := range []*Endpoint{e[0], e[0], e[1]} {
		if f := ep.Open(); f != nil {
			t.Fatal(f)
		}
	}
	if f := e[1].Open(); f == nil || f.Limit != "max_connections" || IsFull(f) {
		t.Errorf("the cluster is full: %v", f)
	}
	e[1].Closed()
	if f := e[1].Open(); f != nil || load.Connections() != 3 {
		t.Errorf("%v, %d connections", f, load.Connections())
	}
}

func TestHasRoom(t *testing.T) {
	for _, c := range []struct {
		name          string
		by            Limits
		under, waits  int
		room          bool
		all           int64 // capacity of three, of which one is unfit
		withoutLimits bool
	}{
		{name: "none", under: 1000, room: true, withoutLimits: true},
		{name: "below", by: Limits{Requests: 3}, under: 2, room: true, all: 6},
		{name: "at requests", by: Limits{Requests: 3}, under: 3, all: 6},
		{name: "at connections", by: Limits{Requests: 5, Connections: 2, Streams: 1}, under: 2, all: 4},
		{name: "streams", by: Limits{Connections: 2, Streams: 100}, under: 199, room: true, all: 400},
		{name: "all streams", by: Limits{Connections: 2, Streams: 100}, under: 200, all: 400},
		{name: "connections of which nobody knows what they carry", by: Limits{Connections: 2}, under: 1000, room: true, withoutLimits: true},
		{name: "at pending", by: Limits{Pending: 2}, under: 2, waits: 2, withoutLimits: true},
	} {
		e := limited(3, NewLoad(0, 0), c.by)
		for range c.under {
			e[0].inFlight.Add(1)
		}
		for range c.waits {
			e[0].pending.Add(1)
		}
		if e[0].HasRoom() != c.room || e[0].Status(time.Now()).Full == c.room || !e[1].HasRoom() {
			t.Errorf("%s: room %v", c.name, e[0].HasRoom())
		}
		set := NewSet(e)
		if want := c.all / 2 * 3; !c.withoutLimits && set.Capacity() != want {
			t.Errorf("%s: capacity %d, want %d", c.name, set.Capacity(), want)
		}
		e[2].Checked(false, ByAnswer, "test", time.Now())
		if c.withoutLimits {
			c.all = math.MaxInt64
		}
		if n := set.Capacity(); n != c.all {
			t.Errorf("%s: capacity %d, want %d", c.name, n, c.all)
		}
		e[0].Checked(false, ByAnswer, "test", time.Now())
		e[1].Checked(false, ByAnswer, "test", time.Now())
		if n := set.Capacity(); n != math.MaxInt64 {
			t.Errorf("%s: capacity %d of nobody is in the way", c.name, n)
		}
	}
}
