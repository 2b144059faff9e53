package listener

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/stream"
)

func TestClientOf(t *testing.T) {
	for _, tt := range []struct{ a, b string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"2001:db8:1:2:ffff::", "2001:db8:1:2::"},
		{"2001:db8:1:3::", "2001:db8:1:3::"},
		{"fe80::1%eth0", "fe80::"},
	} {
		if got := clientOf(netip.MustParseAddr(tt.a)); got != netip.MustParseAddr(tt.b) {
			t.Errorf("%s counts as %v, want %s", tt.a, got, tt.b)
		}
	}
	if clientOf(netip.Addr{}).IsValid() {
		t.Error("no address became one")
	}
}

// TestClientsAgainstModel: any order of coming and going keeps the counts of a
// plain map, and leaves nothing behind.
func TestClientsAgainstModel(t *testing.T) {
	addresses := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", ""}
	rapid.Check(t, func(t *rapid.T) {
		var cs clients
		cs.init()
		cs.max.Store(2)
		counts := map[netip.Addr]int{}
		var open []*connection
		for id := range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(open) > 0 && rapid.Bool().Draw(t, "leave") {
				at := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				cs.leave(open[at])
				counts[open[at].client]--
				open = append(open[:at], open[at+1:]...)
				continue
			}
			c := &connection{facts: stream.Conn{ID: uint64(id)}}
			if text := rapid.SampledFrom(addresses).Draw(t, "address"); text != "" {
				c.facts.Remote = netip.AddrPortFrom(netip.MustParseAddr(text), 1)
			}
			client := clientOf(c.facts.Remote.Addr())
			may := !client.IsValid() || counts[client] < 2
			if got := cs.enter(c); got != may {
				t.Fatalf("enter %v with %d open: %v", client, counts[client], got)
			}
			if may {
				counts[client]++
				open = append(open, c)
			}
		}
		if n := listed(&cs); n != len(open) {
			t.Fatalf("%d connections listed, %d open", n, len(open))
		}
		for _, c := range open {
			cs.leave(c)
		}
		for i := range cs.shards {
			if len(cs.shards[i].open) != 0 || cs.shards[i].head != nil {
				t.Fatalf("shard %d keeps %v", i, cs.shards[i].open)
			}
		}
	})
}

func listed(cs *clients) int {
	n := 0
	for i := range cs.shards {
		for c := cs.shards[i].head; c != nil; c = c.next {
			n++
		}
	}
	return n
}
