package balance

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
)

// server is an upstream of the simulation.
type server struct {
	ep    *endpoint.Endpoint
	takes func(at time.Duration) (took time.Duration, how byte) // a: answered, f: failed, e: errored
	got   int
}

type ending struct {
	at   time.Duration
	done func(at time.Duration)
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// simulate sends a request each gap until end, in virtual time, and gives the sum
// of the times that those took that came after warm.
func simulate(p Picker, servers []*server, gap, warm, end time.Duration) (mean time.Duration) {
	list := make([]*endpoint.Endpoint, len(servers))
	for i, s := range servers {
		list[i] = s.ep
	}
	set, waiting := endpoint.NewSet(list), endings{}
	sum, n := time.Duration(0), 0
	for at := time.Duration(0); at < end; at += gap {
		for len(waiting) > 0 && waiting[0].at <= at {
			over := heap.Pop(&waiting).(ending)
			over.done(over.at)
		}
		ep, _ := p.Pick(set, start.Add(at), nil, 0)
		var s *server
		for _, s = range servers {
			if s.ep == ep {
				break
			}
		}
		took, how := s.takes(at)
		ep.Began()
		if at >= warm {
			s.got++
			sum, n = sum+took, n+1
		}
		heap.Push(&waiting, ending{at + took, func(at time.Duration) {
			ep.Aborted()
			o, ok := p.(interface {
				Answered(ep *endpoint.Endpoint, took time.Duration, now time.Time)
				Failed(ep *endpoint.Endpoint, took, after time.Duration, now time.Time)
				Errored(ep *endpoint.Endpoint, took time.Duration, now time.Time)
			})
			switch now := start.Add(at); {
			case !ok:
			case how == 'f':
				o.Failed(ep, took, 0, now)
			case how == 'e':
				o.Errored(ep, took, now)
			default:
				o.Answered(ep, took, now)
			}
		}})
	}
	return sum / time.Duration(max(n, 1))
}

// steady answers in about d, with a spread of a half.
func steady(r *rand.Rand, d time.Duration) func(time.Duration) (time.Duration, byte) {
	return func(time.Duration) (time.Duration, byte) {
		return d/2 + time.Duration(r.Int64N(int64(d))), 'a'
	}
}

func fleet(n int, takes func(i int) func(time.Duration) (time.Duration, byte)) []*server {
	var servers []*server
	for i, ep := range named(n) {
		servers = append(servers, &server{ep: ep, takes: takes(i)})
	}
	return servers
}

// seeded says its seed, so that what failed can be seen again.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestPeakEWMALeavesTheSlow is the scenario in which it is needed: one endpoint of
// ten is twenty times as slow but never full, so that the number under way alone
// says it late.
func TestPeakEWMALeavesTheSlow(t *testing.T) {
	r := seeded(t)
	run := func(p Picker) (share float64, mean time.Duration) {
		servers := fleet(10, func(i int) func(time.Duration) (time.Duration, byte) {
			if i == 3 {
				return steady(r, 100*time.Millisecond)
			}
			return steady(r, 5*time.Millisecond)
		})
		mean = simulate(p, servers, 2*time.Millisecond, 10*time.Second, 60*time.Second)
		return float64(servers[3].got) / 25_000, mean
	}
	share, mean := run(PeakEWMA{})
	leastShare, leastMean := run(LeastRequest{})
	t.Logf("share of the slow one %.4f, mean %v; with least_request %.4f, %v", share, mean, leastShare, leastMean)
	if share > 0.01 || mean > leastMean*9/10 {
		t.Errorf("the slow one got %.3f of the requests, the mean is %v; with least_request %.3f and %v", share, mean, leastShare, leastMean)
	}
}

// TestPeakEWMAStaysQuiet: among equals nobody gets noticeably more.
func TestPeakEWMAStaysQuiet(t *testing.T) {
	r := seeded(t)
	servers := fleet(10, func(int) func(time.Duration) (time.Duration, byte) { return steady(r, 20*time.Millisecond) })
	simulate(PeakEWMA{}, servers, time.Millisecond, 0, 60*time.Second)
	for i, s := range servers {
		if s.got < 4200 || s.got > 7800 {
			t.Errorf("endpoint %d got %d of 60000 requests, want about 6000", i, s.got)
		}
	}
}

// TestPeakEWMAIsNotFooled: what fails, or refuses, or errs at once is not fast. It
// comes back when it is well again.
func TestPeakEWMAIsNotFooled(t *testing.T) {
	for name, how := range map[string]byte{"fails": 'f', "errs": 'e'} {
		t.Run(name, func(t *testing.T) {
			r := seeded(t)
			const sick = 30 * time.Second
			during, after := 0, 0
			servers := fleet(5, func(i int) func(time.Duration) (time.Duration, byte) {
				well := steady(r, 10*time.Millisecond)
				if i > 0 {
					return well
				}
				return func(at time.Duration) (time.Duration, byte) {
					switch {
					case at < sick:
						during++
						return 100 * time.Microsecond, how
					case at > 3*time.Minute:
						after++
					}
					return well(at)
				}
			})
			simulate(PeakEWMA{}, servers, 2*time.Millisecond, 0, 4*time.Minute)
			if share := float64(during) / 15_000; share > 0.01 {
				t.Errorf("it got %.3f of the requests while it was sick", share)
			}
			if share := float64(after) / 30_000; share < 0.1 {
				t.Errorf("it got %.3f of the requests three minutes later", share)
			}
		})
	}
}

func TestPeakEWMAPenalties(t *testing.T) {
	cases := []struct {
		name        string
		took, after time.Duration
		want        time.Duration
	}{
		{"fast failure", time.Millisecond, 0, failurePenalty},
		{"timeout", 15 * time.Second, 0, 15 * time.Second},
		{"asks for a minute", time.Millisecond, time.Minute, time.Minute},
		{"asks for a year", time.Millisecond, 365 * 24 * time.Hour, longestPenalty},
	}
	for _, c := range cases {
		ep := named(1)[0]
		PeakEWMA{}.Failed(ep, c.took, c.after, start)
		if got, _ := ep.Latency(start, latencyDecay); (got - c.want).Abs() > c.want/1000 {
			t.Errorf("%s: counts as %v, want %v", c.name, got, c.want)
		}
	}
	ep := named(1)[0]
	p := PeakEWMA{}
	p.Answered(ep, 10*time.Millisecond, start)
	p.Errored(ep, time.Millisecond, start.Add(latencyDecay))
	p.Broken(ep, time.Millisecond, start.Add(latencyDecay))
	if got, _ := ep.Latency(start.Add(latencyDecay), latencyDecay); got < 3600*time.Microsecond || got > 3700*time.Microsecond {
		t.Errorf("%v: an error, or what was given up early, does not make an endpoint faster", got)
	}
	p.Broken(ep, time.Second, start.Add(latencyDecay))
	if got, _ := ep.Latency(start.Add(latencyDecay), latencyDecay); got < 990*time.Millisecond {
		t.Errorf("%v: what was given up after a second took at least that", got)
	}
}

// TestPeakEWMANewcomer: one of which nothing is known is judged by what it has
// under way, whatever is known of the others.
func TestPeakEWMANewcomer(t *testing.T) {
	for _, c := range []struct {
		busyNew, busyOld int
		want             int
	}{{2, 1, 1}, {1, 2, 0}} {
		list := named(2)
		PeakEWMA{}.Answered(list[1], time.Millisecond, start)
		for range c.busyNew {
			list[0].Began()
		}
		for range c.busyOld {
			list[1].Began()
		}
		for range 50 {
			if ep, _ := (PeakEWMA{}).Pick(endpoint.NewSet(list), start, nil, 0); ep != list[c.want] {
				t.Errorf("%d under way at the newcomer, %d at the other: the wrong one was picked", c.busyNew, c.busyOld)
				break
			}
		}
	}
}

// TestPeakEWMAWeight: the heavy one of two that are alike takes more.
func TestPeakEWMAWeight(t *testing.T) {
	r := seeded(t)
	list := members(3, 1)
	servers := []*server{{ep: list[0], takes: steady(r, 20*time.Millisecond)}, {ep: list[1], takes: steady(r, 20*time.Millisecond)}}
	simulate(PeakEWMA{}, servers, time.Millisecond, 0, 30*time.Second)
	if share := float64(servers[0].got) / 30_000; share < 0.6 || share > 0.9 {
		t.Errorf("the one of weight 3 beside one of 1 got %.2f", share)
	}
}
