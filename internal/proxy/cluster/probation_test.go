package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// told is what a cluster said about the health of its endpoints.
type told struct {
	mu     sync.Mutex
	events []string
}

func (l *told) hear(ev endpoint.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev.Address+" "+ev.Kind.String()+" "+ev.Cause.String())
}

func (l *told) expect(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.events, want) {
		t.Errorf("told %q\nwant %q", l.events, want)
	}
	l.events = nil
}

// onProbation is a cluster of n whose first endpoint was ejected and has served
// its time.
func onProbation(t *testing.T, n int, change func(*config.Ejection)) (*fixture, *told) {
	log := new(told)
	f := newFixture(n, func(c *Config) {
		ejecting(0.5)(c)
		c.OnHealth = log.hear
		if change != nil {
			change(&c.Ejection)
		}
	})
	f.up[0].always(503)
	s := f.ForRoute(retries(1))
	for range 3 {
		outcome(s.Serve(t.Context(), request("GET")))
	}
	log.expect(t, "a ejected consecutive")
	time.Sleep(time.Until(f.up[0].ep.Status(time.Now()).Until))
	return f, log
}

// TestOneRequestIsTheTrial: while the first request waits for the endpoint that is
// on probation, all others go elsewhere.
func TestOneRequestIsTheTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := onProbation(t, 2, nil)
		a, entered, release := f.up[0], make(chan struct{}, 10), make(chan struct{})
		a.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			entered <- struct{}{}
			<-release
			return a.respond(200), nil
		}
		s := f.ForRoute(retries(1))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { outcome(s.Serve(t.Context(), request("GET"))) })
		}
		synctest.Wait()
		if n := len(entered); n != 1 {
			t.Fatalf("%d requests are at the endpoint on probation, want 1", n)
		}
		if h := a.ep.Status(time.Now()).Health; h != endpoint.Probation {
			t.Errorf("it is %v", h)
		}
		close(release)
		wg.Wait()
		log.expect(t, "a probation time", "a returned probation")
		if !a.ep.Available(time.Now()) {
			t.Error("one good answer does not bring it back")
		}
		f.quiet(t)
	})
}

func TestFailedTrialsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := onProbation(t, 2, func(e *config.Ejection) {
			e.Base, e.Max = config.Duration(10*time.Second), config.Duration(70*time.Second)
		})
		s := f.ForRoute(retries(1))
		for _, want := range []time.Duration{20 * time.Second, 40 * time.Second, 70 * time.Second, 70 * time.Second} {
			if got := outcome(s.Serve(t.Context(), request("GET"))); got != "503" {
				t.Fatalf("%s: nobody tried", got)
			}
			log.expect(t, "a probation time", "a ejected probation")
			st := f.up[0].ep.Status(time.Now())
			if d := time.Until(st.Until); d > want || d < want*9/10 {
				t.Fatalf("out for %v (%s), want nearly %v", d, st.Reason, want)
			}
			for range 5 {
				if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
					t.Fatalf("%s: an ejected endpoint was asked", got)
				}
			}
			time.Sleep(time.Until(st.Until))
		}
	})
}

func TestSeveralTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := onProbation(t, 2, func(e *config.Ejection) { e.Probation = 3 })
		f.up[0].always(200)
		s := f.ForRoute(retries(1))
		for i := range 3 {
			if f.up[0].ep.Available(time.Now()) {
				t.Fatalf("back after %d of 3", i)
			}
			outcome(s.Serve(t.Context(), request("GET")))
		}
		log.expect(t, "a probation time", "a returned probation")
	})
}

// TestTrialThatSaysNothing: the next request may try.
func TestTrialThatSaysNothing(t *testing.T) {
	for name, serve := range map[string]func(a *upstream, leave context.CancelFunc) (*stream.Response, error){
		"the client leaves": func(_ *upstream, leave context.CancelFunc) (*stream.Response, error) {
			leave()
			return nil, &stream.Fault{Kind: stream.UpstreamReset}
		},
		"a fault of ours": func(*upstream, context.CancelFunc) (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.ClusterFull}
		},
		"the transport fails": func(*upstream, context.CancelFunc) (*stream.Response, error) { panic("on purpose") },
	} {
		synctest.Test(t, func(t *testing.T) {
			f, log := onProbation(t, 2, nil)
			a := f.up[0]
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			a.serve = func(context.Context, *stream.Request) (*stream.Response, error) { return serve(a, leave) }
			s := f.ForRoute(retries(1))
			func() {
				defer func() { _ = recover() }()
				outcome(s.Serve(ctx, request("GET")))
			}()
			log.expect(t, "a probation time")
			a.always(200)
			outcome(s.Serve(t.Context(), request("GET")))
			log.expect(t, "a returned probation")
			if t.Failed() {
				t.Log(name)
			}
		})
	}
}

// TestRetryIsNoTrial: it is the last hope of its request.
func TestRetryIsNoTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := onProbation(t, 3, nil)
		s := f.ForRoute(retries(2, "503"))
		// The first attempt is the trial, and fails; the second goes to another one.
		if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
			t.Errorf("%s: the client sees the failed trial", got)
		}
		log.expect(t, "a probation time", "a ejected probation")
		time.Sleep(time.Until(f.up[0].ep.Status(time.Now()).Until))
		trial, _ := f.up[0].ep.Try(time.Now()) // somebody else has it, and gives it up between the attempts
		f.up[1].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
			f.ejector.giveUp(trial, time.Now())
			return f.up[1].respond(503), nil
		}
		before := len(f.up[0].fresh)
		if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" || len(f.up[0].fresh) != before {
			t.Errorf("%s: the second attempt is a trial", got)
		}
	})
}

// TestTrialLosesTheRace: a hedge has an answer first.
func TestTrialLosesTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(told)
		f := newFixture(2, func(c *Config) {
			ejecting(0.5)(c)
			c.OnHealth = log.hear
			c.Go = func(work func()) { go work() }
		})
		p := retries(1)
		p.Hedge = &config.Hedge{Quantile: 0.95, Least: config.Duration(10 * time.Millisecond), Share: 1, Methods: []string{"GET"}}
		s := f.ForRoute(p)
		for range hedgeSamples + 10 {
			outcome(s.Serve(t.Context(), request("GET")))
		}
		f.up[0].always(503)
		for range 3 {
			outcome(s.Serve(t.Context(), request("GET")))
		}
		time.Sleep(time.Until(f.up[0].ep.Status(time.Now()).Until))
		for range hedgeSamples + 10 { // the window has forgotten; the trial is held meanwhile
			trial, _ := f.up[0].ep.Try(time.Now())
			outcome(s.Serve(t.Context(), request("GET")))
			trial.GiveUp()
		}
		f.SetEndpoints(f.Endpoints()) // has it looked for again
		f.up[0].serve = func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return nil, &stream.Fault{Kind: stream.ClientGone}
		}
		log.expect(t, "a ejected consecutive")
		if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" {
			t.Errorf("the answer is %s", got)
		}
		synctest.Wait()
		log.expect(t, "a ejected probation") // the probation began above
		f.quiet(t)
	})
}

// TestTrialsFollowTheSet: an endpoint that comes with a reload, ejected before, is
// tried as well.
func TestTrialsFollowTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := onProbation(t, 2, nil)
		old := f.up[0].ep
		heir := endpoint.New(endpoint.Spec{Network: "tcp", Address: "heir", Weight: 1}, f.Load(), time.Now())
		heir.Inherit(old)
		log := new(told)
		next := newFixture(0, func(c *Config) { ejecting(0.5)(c); c.OnHealth = log.hear })
		u := &upstream{ep: heir}
		u.always(200)
		heir.Transport = u
		other := f.up[1].ep
		next.SetEndpoints(endpoint.NewSet([]*endpoint.Endpoint{heir, other}))
		outcome(next.ForRoute(retries(1)).Serve(t.Context(), request("GET")))
		log.expect(t, "heir probation time", "heir returned probation")
		if old.Available(time.Now()) {
			t.Error("the endpoint that is replaced was tried, too")
		}
	})
}

// TestNothingDueCostsNothing: the pick looks at the time, and nothing else.
func TestNothingDueCostsNothing(t *testing.T) {
	f := newFixture(3, ejecting(0.5))
	s := f.ForRoute(retries(1))
	outcome(s.Serve(t.Context(), request("GET")))
	f.ejector.mu.Lock()
	defer f.ejector.mu.Unlock()
	if got := outcome(s.Serve(t.Context(), request("GET"))); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
	if due := f.ejector.due.Load(); due != 1<<63-1 {
		t.Errorf("somebody looks again at %d", due)
	}
}

// TestCheckEndsEjection: by the rule of the document, and a request proves the
// endpoint all the same.
func TestCheckEndsEjection(t *testing.T) {
	for _, c := range []struct {
		rule      string
		recovered bool
		ends      bool
	}{
		{"recovery", true, true}, {"recovery", false, false}, {"success", true, true}, {"success", false, true}, {"never", true, false},
	} {
		t.Run(fmt.Sprint(c.rule, c.recovered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(told)
				f := newFixture(2, func(cfg *Config) {
					ejecting(0.5)(cfg)
					cfg.OnHealth, cfg.Ejection.EndOnCheck = log.hear, c.rule
				})
				f.up[0].always(503)
				s := f.ForRoute(retries(1))
				for range 3 {
					outcome(s.Serve(t.Context(), request("GET")))
				}
				log.expect(t, "a ejected consecutive")
				time.Sleep(time.Second)
				f.CheckPassed(f.up[0].ep, c.recovered, time.Now())
				outcome(s.Serve(t.Context(), request("GET"))) // a trial that fails
				if !c.ends {
					log.expect(t)
					return
				}
				log.expect(t, "a probation check", "a ejected probation")
				f.up[0].always(200)
				f.CheckPassed(f.up[0].ep, c.recovered, time.Now())
				outcome(s.Serve(t.Context(), request("GET")))
				log.expect(t, "a probation check", "a returned probation")
				f.CheckPassed(f.up[0].ep, c.recovered, time.Now()) // it is in nobody's way
				if got := outcome(s.Serve(t.Context(), request("GET"))); got != "200" || !f.up[0].ep.Available(time.Now()) {
					t.Error(got)
				}
				log.expect(t)
			})
		})
	}
}
