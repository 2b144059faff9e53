package cluster

import (
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// keyed is a picker that keeps the keys it is given and the sets it is shown.
type keyed struct {
	order
	keys     []uint64
	prepared []*endpoint.Set
}

func (k *keyed) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, key uint64) (*endpoint.Endpoint, bool) {
	k.keys = append(k.keys, key)
	return k.order.Pick(set, now, tried, key)
}

func (k *keyed) Prepare(set *endpoint.Set) { k.prepared = append(k.prepared, set) }

// TestHashKey: the key of a request is asked for once and the same for all of
// its attempts; one without a key has 0.
func TestHashKey(t *testing.T) {
	picker, asked := new(keyed), 0
	f := newFixture(2, func(cfg *Config) {
		cfg.Picker = picker
		cfg.HashKey = func(req *stream.Request) (uint64, bool) {
			asked++
			return 77, req.Method == "GET"
		}
	})
	if len(picker.prepared) != 1 || picker.prepared[0] != f.Endpoints() {
		t.Error("the picker was not shown the set before requests come")
	}
	f.up[0].fails(stream.ConnectRefused, stream.RetryUnsent)
	s := f.ForRoute(retries(2, "connect"))
	if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" || asked != 1 {
		t.Errorf("%s, asked %d times", got, asked)
	}
	if len(picker.keys) != 2 || picker.keys[0] != 77 || picker.keys[1] != 77 {
		t.Errorf("keys %v", picker.keys)
	}
	if got := outcome(s.Serve(t.Context(), request("HEAD"))); got != "200" || picker.keys[2] != 0 {
		t.Errorf("%s, keys %v", got, picker.keys)
	}
	f.quiet(t)
}
