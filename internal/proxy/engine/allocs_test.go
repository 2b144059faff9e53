//go:build !race

package engine_test

import (
	"fmt"
	"runtime"
	"testing"
)

// TestAllocsProxiedRequest: the whole path with routing, access log and metrics
// makes at most six allocations for a request without body. (With the race
// detector sync.Pool drops things on purpose, so that it counts more.)
func TestAllocsProxiedRequest(t *testing.T) {
	e := start(t, compiled(t, fmt.Sprintf(document, "/dev/null", "hi", canned(t, hundred)), nil))
	c := dial(t, e)
	for range 100 { // pools, buffers and labels come to be
		c.get(t, plainRequest, "0123456789")
	}
	const requests = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range requests {
		c.get(t, plainRequest, "0123456789")
	}
	runtime.ReadMemStats(&after)
	const ceiling = 6
	if got := float64(after.Mallocs-before.Mallocs) / requests; got > ceiling {
		t.Errorf("%.2f allocations per proxied request, at most %d are allowed", got, ceiling)
	} else {
		t.Logf("%.2f allocations, %.0f bytes per proxied request", got, float64(after.TotalAlloc-before.TotalAlloc)/requests)
	}
}
