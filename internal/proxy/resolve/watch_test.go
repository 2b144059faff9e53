package resolve

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// watching runs a Watch in a bubble.
type watching struct {
	*Resolver
	server *fakeDNS

	mu   sync.Mutex
	seen []string
	when []time.Duration // since the start
}

func watch(t *testing.T, name Name, reply func(string, *dns.Msg) [][]byte) *watching {
	w := &watching{}
	w.server = &fakeDNS{}
	w.server.say(reply)
	w.Resolver = newResolver(t, Config{Servers: []string{"192.0.2.53"}, Family: "ipv4", Dial: w.server.dial})
	ctx, cancel := context.WithCancel(t.Context())
	ended, begun := make(chan struct{}), time.Now()
	go func() {
		defer close(ended)
		w.Watch(ctx, name, func(addrs []Addr) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen, w.when = append(w.seen, short(addrs)), append(w.when, time.Since(begun))
			clear(addrs) // it is ours
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return w
}

func (w *watching) saw() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func TestWatchRespectsTTL(t *testing.T) {
	for _, tt := range []struct {
		name, record string
		every        time.Duration
	}{
		{"as it says", "api.example. 30 IN A 192.0.2.1", 30 * time.Second},
		{"0 is not a flood", "api.example. 0 IN A 192.0.2.1", 5 * time.Second},
		{"a week is not a week", "api.example. 604800 IN A 192.0.2.1", 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, Name{Host: "api.example"}, zone(tt.record))
				time.Sleep(10*tt.every + time.Second)
				if n := len(w.server.questions()); n != 11 {
					t.Errorf("%d questions in ten times %v", n, tt.every)
				}
				if got := w.saw(); !slices.Equal(got, []string{"192.0.2.1"}) {
					t.Errorf("told %q, want it once", got)
				}
			})
		})
	}
}

func TestWatchTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := "api.example. 10 IN A 192.0.2.1", "api.example. 10 IN A 192.0.2.2"
		w := watch(t, Name{Host: "api.example"}, zone(one, two))
		time.Sleep(time.Second)
		w.server.say(zone(two, one)) // only shuffled
		time.Sleep(20 * time.Second)
		w.server.say(zone(two))
		time.Sleep(10 * time.Second)
		if got := w.saw(); !slices.Equal(got, []string{"192.0.2.1 192.0.2.2", "192.0.2.2"}) {
			t.Errorf("told %q", got)
		}
		if n := w.Stats.Changes.Load(); n != 2 {
			t.Errorf("%d changes counted", n)
		}
	})
}

// TestLastGoodAnswerStays: no failure takes addresses away, the end of each is
// noticed soon, and the questions meanwhile become rare.
func TestLastGoodAnswerStays(t *testing.T) {
	for name, outage := range map[string]func(string, *dns.Msg) [][]byte{
		"silence":  silent,
		"SERVFAIL": code(dns.RcodeServerFailure),
		"REFUSED":  code(dns.RcodeRefused),
		"NXDOMAIN": zone(),
		"no data":  zone("api.example. 10 IN TXT x"),
		"garbage":  func(_ string, q *dns.Msg) [][]byte { return [][]byte{append(id(q), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)} },
		"0.0.0.0":  zone("api.example. 10 IN A 0.0.0.0"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, Name{Host: "api.example"}, zone("api.example. 10 IN A 192.0.2.1"))
				time.Sleep(time.Second)
				w.server.say(outage)
				time.Sleep(time.Hour)
				if got := w.saw(); !slices.Equal(got, []string{"192.0.2.1"}) {
					t.Fatalf("told %q", got)
				}
				kept := w.Stats.Kept.Load()
				if kept < 60 || kept > 200 {
					t.Errorf("kept %d times in an hour", kept)
				}
				w.server.say(zone("api.example. 10 IN A 192.0.2.2"))
				time.Sleep(time.Minute)
				if got := w.saw(); !slices.Equal(got, []string{"192.0.2.1", "192.0.2.2"}) {
					t.Errorf("after the outage told %q", got)
				}
			})
		})
	}
}

// TestNothingAtFirst: a name that does not resolve yet is asked for with
// growing waits, and told once it does.
func TestNothingAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, Name{Host: "_x._tcp.example", SRV: true}, zone())
		time.Sleep(5 * time.Minute)
		if n := len(w.server.questions()); n < 10 || n > 25 {
			t.Errorf("%d questions in 5 minutes", n)
		}
		if got := w.saw(); len(got) != 0 || w.Stats.Kept.Load() != 0 {
			t.Errorf("told %q, kept %d times", got, w.Stats.Kept.Load())
		}
		w.server.say(zone("_x._tcp.example. 30 IN SRV 1 5 80 a.example.", "a.example. 30 IN A 192.0.2.1"))
		time.Sleep(40 * time.Second)
		if got := w.saw(); !slices.Equal(got, []string{"a.example=192.0.2.1:80*5"}) {
			t.Errorf("told %q", got)
		}
	})
}
