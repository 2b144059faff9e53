package canary

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func config() Config {
	return Config{
		Steps: []float64{0.05, 0.25, 0.5, 1}, Hold: time.Minute, MinRequests: 50, Tolerate: 0.01, MaxErrors: 0.5,
		SlowQuantile: 0.9, SlowFactor: 1.5, FalseAlarm: 0.01,
	}
}

// arm is how a version behaves.
type arm struct {
	errors float64
	median time.Duration
}

// play is what happens to a canary.
type play struct {
	cfg    Config
	base   arm
	canary arm
	rate   float64       // requests a second, both arms together
	well   time.Duration // how long the canary is as the baseline
	until  time.Duration
}

// run sends requests until the canary is decided or the time is over. took counts
// from when the canary is what it is.
func (p play) run(r *rand.Rand) (s State, took time.Duration) {
	over := false
	p.cfg.OnChange = func(s State, _ Saved) { over = s.Phase != "running" }
	c := New(p.cfg, start)
	now := start
	for now.Sub(start) < p.until && !over {
		now = now.Add(time.Duration(r.ExpFloat64() / p.rate * float64(time.Second)))
		which, a := Baseline, p.base
		if r.Float64() < c.Share() {
			if which = Candidate; now.Sub(start) >= p.well {
				a = p.canary
			}
		}
		failed := r.Float64() < a.errors
		took := time.Duration(float64(a.median) * math.Exp(0.5*r.NormFloat64()))
		c.Observe(which, failed, took, now)
	}
	return c.State(), now.Sub(start) - p.well
}

// quantiles plays n times and wants a rollback for errors each time. It is after
// how long that was, in order.
func (p play) quantiles(t *testing.T, r *rand.Rand, n int) []time.Duration {
	t.Helper()
	times := make([]time.Duration, n)
	for i := range times {
		s, took := p.run(r)
		if s.Phase != "rolled_back" || s.Share != 0 || !strings.Contains(s.Reason, "failed") {
			t.Fatalf("%+v", s)
		}
		times[i] = took
	}
	slices.Sort(times)
	return times
}

// TestBadCanary: one that fails 5 % of its requests, with 5 % of 200 requests a
// second, is rolled back within 15 s: 99 of 100 when the baseline does not fail.
// When that fails in 1 of 1,000 it is 95 of 100, and cannot be 99 (docs/design/0005).
func TestBadCanary(t *testing.T) {
	const runs, seed = 1000, 20260101
	t.Logf("seed %d, %d runs each", seed, runs)
	for i, x := range []struct {
		base     float64
		well     time.Duration
		quantile int // of 100
		within   time.Duration
	}{
		{0, 0, 50, 6 * time.Second},
		{0, 0, 99, 15 * time.Second},
		{0.001, 0, 50, 6 * time.Second},
		{0.001, 0, 95, 15 * time.Second},
		{0.001, 0, 99, 25 * time.Second},
		{0, 4 * time.Minute, 95, 25 * time.Second}, // well for most of a step, and then not
		{0.001, 4 * time.Minute, 95, 30 * time.Second},
		{0, 0, 95, 12 * time.Second},
	} {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		p := play{cfg: config(), base: arm{x.base, time.Millisecond}, canary: arm{0.05, time.Millisecond}, rate: 200, well: x.well, until: 10 * time.Minute}
		p.cfg.Hold, p.cfg.SlowFactor = 5*time.Minute, 0
		n := runs
		if x.well > 0 {
			n = 200
		}
		times := p.quantiles(t, r, n)
		got := times[n*x.quantile/100]
		t.Logf("the baseline fails in %.1f %%, well for %v: %d of 100 within %v", 100*x.base, x.well, x.quantile, got)
		if got > x.within {
			t.Errorf("and not within %v", x.within)
		}
	}
}

// TestSlowCanary is rolled back for its times alone.
func TestSlowCanary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	p := play{cfg: config(), base: arm{0.001, 20 * time.Millisecond}, canary: arm{0.001, 60 * time.Millisecond}, rate: 200, until: 5 * time.Minute}
	for range 50 {
		if s, took := p.run(r); s.Phase != "rolled_back" || !strings.Contains(s.Reason, "longer") || took > 30*time.Second {
			t.Fatalf("after %v: %+v", took, s)
		}
	}
}

// TestNoFalseAlarms: of 1,000 canaries that are what the baseline is, less than
// one in a hundred is rolled back, and the others are promoted; whatever share of
// its requests the baseline fails.
func TestNoFalseAlarms(t *testing.T) {
	const runs, seed = 1000, 20260102
	for i, errors := range []float64{0, 0.001, 0.02, 0.2} {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		same := arm{errors, 20 * time.Millisecond}
		p := play{cfg: config(), base: same, canary: same, rate: 100, until: 10 * time.Minute}
		p.cfg.Hold = 20 * time.Second
		ended := map[string]int{}
		for range runs {
			s, _ := p.run(r)
			ended[s.Phase]++
		}
		t.Logf("seed %d: both fail in %.1f %%: of %d runs %v", seed, 100*errors, runs, ended)
		if ended["rolled_back"]*100 >= runs || ended["promoted"] < runs*98/100 {
			t.Errorf("that is too many")
		}
	}
}

// TestGuards: little evidence, little difference and few requests decide nothing;
// a canary that fails altogether needs no comparison.
func TestGuards(t *testing.T) {
	feed := func(c *Controller, which Arm, n, failed int, now time.Time) {
		for i := range n {
			c.Observe(which, i < failed, time.Millisecond, now)
		}
	}
	c := New(config(), start)
	feed(c, Candidate, 49, 49, start)
	if s := c.State(); s.Phase != "running" {
		t.Errorf("49 requests, min_requests 50: %+v", s)
	}
	feed(c, Candidate, 1, 1, start)
	if s := c.State(); s.Phase != "rolled_back" {
		t.Errorf("all of 50 failed: %+v", s)
	}
	c = New(config(), start)
	feed(c, Candidate, 1000, 0, start)
	for range 100 { // 0.8 %, less than is tolerated
		feed(c, Baseline, 2400, 0, start)
		feed(c, Candidate, 125, 1, start)
	}
	if s := c.State(); s.Phase != "running" || s.Evidence < s.Threshold {
		t.Errorf("tolerated: %+v", s)
	}
	c = New(config(), start)
	feed(c, Candidate, 10, 0, start.Add(time.Hour))
	if s := c.State(); s.Step != 1 {
		t.Errorf("a step without its requests went on: %+v", s)
	}
}

func TestCommands(t *testing.T) {
	var told []string
	cfg := config()
	cfg.OnChange = func(s State, _ Saved) { told = append(told, s.Phase) }
	c := New(cfg, start)
	for _, step := range []struct {
		command Command
		phase   string
		share   float64
		fails   bool
	}{
		{"pause", "paused", 0.05, false},
		{"pause", "paused", 0.05, true},
		{"resume", "running", 0.05, false},
		{"rollback", "rolled_back", 0, false},
		{"resume", "running", 0.05, false},
		{"promote", "promoted", 1, false},
		{"explode", "promoted", 1, true},
	} {
		err := c.Do(step.command, start)
		if s := c.State(); (err != nil) != step.fails || s.Phase != step.phase || s.Share != step.share {
			t.Errorf("%s: %v, %+v", step.command, err, s)
		}
	}
	if got := strings.Join(told, " "); got != "paused running rolled_back running promoted" {
		t.Error(got)
	}
	// A paused one is rolled back all the same when it is bad.
	c = New(config(), start)
	_ = c.Do(Pause, start)
	for range 60 {
		c.Observe(Candidate, true, 0, start)
	}
	if c.State().Phase != "rolled_back" {
		t.Error("paused, and nobody looks")
	}
}

// TestAlone: the last step, which has no baseline, goes by what that did before.
func TestAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	cfg := config()
	cfg.Steps, cfg.Hold = []float64{0.5, 1}, time.Minute
	for _, x := range []struct {
		canary arm
		well   time.Duration
		want   string
		within time.Duration // of when it is not well
	}{
		{arm{0.001, 20 * time.Millisecond}, 0, "promoted", 3 * time.Minute},
		{arm{0.005, 20 * time.Millisecond}, 0, "promoted", 3 * time.Minute}, // less than is tolerated
		{arm{0.05, 20 * time.Millisecond}, 70 * time.Second, "rolled_back", 10 * time.Second},
		{arm{0.001, 60 * time.Millisecond}, 70 * time.Second, "promoted", 3 * time.Minute}, // it may be the hour
	} {
		for range 20 {
			p := play{cfg: cfg, base: arm{0.001, 20 * time.Millisecond}, canary: x.canary, rate: 200, well: x.well, until: 5 * time.Minute}
			if s, took := p.run(r); s.Phase != x.want || took > x.within {
				t.Errorf("%+v: %+v after %v", x, s, took)
			}
		}
	}
}

// TestRestore: a restart goes on with the step, and what is rolled back stays so.
func TestRestore(t *testing.T) {
	cfg := config()
	var last Saved
	cfg.OnChange = func(_ State, s Saved) { last = s }
	c := New(cfg, start)
	for i := range 1000 {
		c.Observe(Baseline, i == 0, time.Millisecond, start)
	}
	for range 50 {
		c.Observe(Candidate, false, time.Millisecond, start.Add(time.Minute))
	}
	if last.Step != 2 || last.Past != (counts{All: 1000, Errors: 1}) {
		t.Fatalf("kept: %+v", last)
	}
	for _, command := range []Command{"", Pause, RollBack, Resume, Promote} {
		if command != "" {
			_ = c.Do(command, start)
		}
		again, err := Restore(cfg, last, start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		a, b := c.State(), again.State()
		if a.Phase != b.Phase || a.Step != b.Step || a.Share != b.Share || a.Reason != b.Reason {
			t.Errorf("%+v became %+v", a, b)
		}
	}
	for _, s := range []Saved{{Phase: "x", Step: 1}, {Phase: "running", Step: 0}, {Phase: "running", Step: 5}, {Phase: "running", Step: 1, Past: counts{All: -1}}} {
		if _, err := Restore(cfg, s, start); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

// TestSlowLeast: twice as long is nothing as long as it is next to nothing.
func TestSlowLeast(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, least := range []time.Duration{0, 10 * time.Millisecond} {
		p := play{cfg: config(), base: arm{0, 300 * time.Microsecond}, canary: arm{0, 900 * time.Microsecond}, rate: 200, until: 5 * time.Minute}
		p.cfg.SlowLeast = least
		if s, _ := p.run(r); (s.Phase == "rolled_back") != (least == 0) {
			t.Errorf("slow_least %v: %+v", least, s)
		}
	}
}
