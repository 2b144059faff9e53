package cache

import (
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/cache/rule"
)

// result is what became of a request: a word of the metric.
type result uint8

const (
	hit         result = iota // from the cache, fresh
	stale                     // from the cache, while a new one is fetched
	staleError                // from the cache, because the upstream failed
	revalidated               // from the cache, after the upstream confirmed it
	coalesced                 // with what was fetched for another
	miss                      // fetched
	uncacheable               // its response is known not to be storable
	bypass                    // not a request that the cache answers
	guarded                   // a new key, beyond the bound of them
	numResults
)

var resultNames = [numResults]string{
	"hit", "stale", "stale_if_error", "revalidated", "coalesced", "miss", "uncacheable", "bypass", "guarded",
}

// counts are the metrics of a route.
type counts struct {
	results                                  [numResults]*filter.Counter
	refused                                  map[rule.Refusal]*filter.Counter
	served, fetched, ages                    *filter.Counter
	stored, evicted, purged, refreshes, lost *filter.Counter
	gaps                                     *filter.Counter
}

func newCounts(env filter.Env) *counts {
	c := &counts{refused: map[rule.Refusal]*filter.Counter{}}
	for r := range numResults {
		c.results[r] = env.Counter("weir_cache_requests_total", "Requests, by what the cache did.", "result", resultNames[r])
	}
	for _, why := range rule.Refusals() {
		c.refused[why] = env.Counter("weir_cache_refused_total", "Responses that were fetched and not stored, by the reason.", "reason", string(why))
	}
	c.served = env.Counter("weir_cache_served_bytes_total", "Bytes of content from the cache, which the upstream did not have to send.")
	c.fetched = env.Counter("weir_cache_fetched_bytes_total", "Bytes of content that were fetched to be stored.")
	c.ages = env.Counter("weir_cache_hit_age_seconds_total", "Ages of the responses that were served from the cache, added up.")
	c.stored = env.Counter("weir_cache_stored_total", "Responses stored.")
	c.evicted = env.Counter("weir_cache_evicted_total", "Entries that made room for others in memory.")
	c.purged = env.Counter("weir_cache_purged_total", "Responses forgotten by purges and by requests that change something.")
	c.refreshes = env.Counter("weir_cache_refreshes_total", "Responses fetched in the background.")
	c.gaps = env.Counter("weir_cache_purge_gaps_total", "Times that purges of other proxies were missed, and the cache was emptied.")
	c.lost = env.Counter("weir_cache_disk_lost_total", "Responses that were not written to the disk: the queue was full, or writing failed.")
	return c
}

// answered counts an answer from the cache.
func (c *counts) answered(r result, length int, age time.Duration) {
	c.results[r].Add(1)
	if r == miss {
		return
	}
	c.served.Add(int64(length))
	c.ages.Add(int64(age / time.Second))
}

// ratio is how many requests did not reach the upstream, of how many.
func (c *counts) ratio() float64 {
	all, saved := int64(0), int64(0)
	for r, counter := range c.results {
		n := counter.Value()
		all += n
		switch result(r) { //nolint:gosec // an index of the array
		case hit, stale, staleError, coalesced:
			saved += n
		}
	}
	if all == 0 {
		return 0
	}
	return float64(saved) / float64(all)
}
