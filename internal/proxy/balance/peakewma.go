package balance

import (
	"math/rand/v2"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

const (
	// latencyDecay is how long latencies are remembered: Linkerd's 10 s.
	latencyDecay = 10 * time.Second
	// failurePenalty is what a failure, or a refusal for too many requests, counts
	// as: such answers come fast, and an endpoint that gives them must not look
	// fast. Against endpoints that answer in milliseconds it lasts for about one
	// and a half minutes of silence.
	failurePenalty = 5 * time.Second
	// longestPenalty bounds what an endpoint may ask for by Retry-After.
	longestPenalty = 5 * time.Minute
)

// PeakEWMA draws two endpoints by weight and picks the one that would be done
// sooner: the moving average of its latency, which a slow answer raises at once
// and fast ones lower slowly, times what it has under way with this one more,
// for its weight. Where nothing is known of one of the two, the number under way
// decides, so that one that is new is neither flooded nor shunned.
type PeakEWMA struct{}

// Pick implements Picker.
func (PeakEWMA) Pick(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, _ uint64) (*endpoint.Endpoint, bool) {
	return twoChoices(set, now, tried, sooner)
}

// sooner tells whether b, of weight wb, would be done before a, of weight wa.
func sooner(a, b *endpoint.Endpoint, wa, wb uint32, now time.Time) bool {
	la, knownA := a.Latency(now, latencyDecay)
	lb, knownB := b.Latency(now, latencyDecay)
	if !knownA || !knownB {
		return emptier(a, b, wa, wb, now)
	}
	costA := float64(la) * float64(a.InFlight()+1) * float64(wb)
	costB := float64(lb) * float64(b.InFlight()+1) * float64(wa)
	return costB < costA
}

// Latency is what peak_ewma knows of an endpoint, for people.
func Latency(ep *endpoint.Endpoint, now time.Time) (d time.Duration, ok bool) {
	return ep.Latency(now, latencyDecay)
}

// Answered is an attempt that the endpoint answered as it should.
func (PeakEWMA) Answered(ep *endpoint.Endpoint, took time.Duration, now time.Time) {
	ep.Took(took, now, latencyDecay)
}

// Failed is one that failed, or was refused for too many requests. after is when
// the endpoint wants to be asked again; 0: it did not say.
func (PeakEWMA) Failed(ep *endpoint.Endpoint, took, after time.Duration, now time.Time) {
	ep.TookAtLeast(max(took, failurePenalty, min(after, longestPenalty)), now, latencyDecay)
}

// Errored is one that the endpoint answered with an error of its own, which says
// little: it does not speak for it, and against one only of which nothing better
// is known.
func (p PeakEWMA) Errored(ep *endpoint.Endpoint, took time.Duration, now time.Time) {
	if _, known := ep.Latency(now, latencyDecay); !known {
		p.Failed(ep, took, 0, now)
		return
	}
	ep.TookAtLeast(took, now, latencyDecay)
}

// Broken is one that was given up before there was an answer: it would have taken
// longer.
func (PeakEWMA) Broken(ep *endpoint.Endpoint, took time.Duration, now time.Time) {
	ep.TookAtLeast(took, now, latencyDecay)
}

// emptier tells whether b has less under way for its weight than a.
func emptier(a, b *endpoint.Endpoint, wa, wb uint32, _ time.Time) bool {
	return uint64(b.InFlight())*uint64(wa) < uint64(a.InFlight())*uint64(wb)
}

// twoChoices draws two endpoints and picks the second one if it is better. Equal
// ones: the first draw, which went by weight.
func twoChoices(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint,
	better func(a, b *endpoint.Endpoint, wa, wb uint32, now time.Time) bool) (*endpoint.Endpoint, bool) {
	i, open := search(Random{}, set, now, tried)
	if i < 0 {
		return nil, false
	}
	first := set.At(i)
	if open || !first.HasRoom() {
		return first, open
	}
	j, found := second(set, now, tried, i)
	if !found {
		return first, false
	}
	if other := set.At(j); better(first, other, set.Weight(i), set.Weight(j), now) {
		return other, false
	}
	return first, false
}

// secondDraws bounds the search for a second endpoint. Without one the first
// is picked.
const secondDraws = 8

// second draws an endpoint other than i that may be picked.
func second(set *endpoint.Set, now time.Time, tried []*endpoint.Endpoint, i int) (j int, found bool) {
	n := set.Len()
	if n < 2 {
		return 0, false
	}
	for range secondDraws {
		if set.Even() {
			j = i + 1 + rand.IntN(n-1)
			if j >= n {
				j -= n
			}
		} else if j = (Random{}).draw(set); j == i {
			continue
		}
		if e := set.At(j); fresh(set, e, now, tried) && takes(set, e, now) {
			return j, true
		}
	}
	return 0, false
}

// takes tells whether an endpoint that chance has drawn takes the request.
func takes(set *endpoint.Set, e *endpoint.Endpoint, now time.Time) bool {
	return !set.Slow() || set.Takes(e, now, rand.Uint64())
}
