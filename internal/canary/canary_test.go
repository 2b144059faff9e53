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

// simulate sends rate requests a second until the canary is decided or d is over.
func simulate(r *rand.Rand, cfg Config, base, canary arm, rate float64, d time.Duration) (c *Controller, took time.Duration) {
	c = New(cfg, start)
	now := start
	for now.Sub(start) < d {
		now = now.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		which, a := Baseline, base
		if r.Float64() < c.Share() {
			which, a = Candidate, canary
		}
		failed := r.Float64() < a.errors
		time := time.Duration(float64(a.median) * math.Exp(0.5*r.NormFloat64()))
		c.Observe(which, failed, time, now)
		if s := c.State(); s.Phase != "running" {
			break
		}
	}
	return c, now.Sub(start)
}

// TestBadCanary: one that fails 5 % of its requests, with 5 % of 200 requests a
// second, is rolled back within 15 s.
func TestBadCanary(t *testing.T) {
	const runs, seed = 300, 20260101
	r := rand.New(rand.NewPCG(seed, 1))
	good := arm{0.001, 20 * time.Millisecond}
	var times []time.Duration
	for range runs {
		c, took := simulate(r, config(), good, arm{0.05, 20 * time.Millisecond}, 200, 5*time.Minute)
		if s := c.State(); s.Phase != "rolled_back" || s.Share != 0 || !strings.Contains(s.Reason, "failed") {
			t.Fatalf("seed %d: %+v", seed, s)
		}
		times = append(times, took)
	}
	slices.Sort(times)
	if median, p95 := times[runs/2], times[runs*95/100]; median > 10*time.Second || p95 > 15*time.Second {
		t.Errorf("seed %d: rolled back after %v (median) and %v (95th percentile)", seed, median, p95)
	} else {
		t.Logf("seed %d: rolled back after %v (median) and %v (95th percentile)", seed, median, p95)
	}
}

// TestSlowCanary is rolled back for its times alone.
func TestSlowCanary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		c, took := simulate(r, config(), arm{0.001, 20 * time.Millisecond}, arm{0.001, 60 * time.Millisecond}, 200, 5*time.Minute)
		if s := c.State(); s.Phase != "rolled_back" || !strings.Contains(s.Reason, "longer") || took > 30*time.Second {
			t.Fatalf("after %v: %+v", took, s)
		}
	}
}

// TestNoFalseAlarms: of 1,000 canaries that are what the baseline is, less than
// one in a hundred is rolled back, and the others are promoted.
func TestNoFalseAlarms(t *testing.T) {
	const runs, seed = 1000, 20260102
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := config()
	cfg.Hold = 20 * time.Second
	promoted, rolledBack := 0, 0
	for i := range runs {
		same := arm{[]float64{0, 0.001, 0.02, 0.2}[i%4], 20 * time.Millisecond}
		c, _ := simulate(r, cfg, same, same, 100, 10*time.Minute)
		switch s := c.State(); s.Phase {
		case "promoted":
			promoted++
		case "rolled_back":
			rolledBack++
		}
	}
	if rolledBack*100 >= runs || promoted < runs*98/100 {
		t.Errorf("seed %d: of %d runs %d were rolled back and %d promoted", seed, runs, rolledBack, promoted)
	} else {
		t.Logf("seed %d: of %d runs %d were rolled back", seed, runs, rolledBack)
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
	feed(c, Baseline, 100_000, 0, start)
	feed(c, Candidate, 5000, 0, start)
	feed(c, Candidate, 40, 40, start) // 0.8 %, less than is tolerated
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
	cfg.OnChange = func(s State) { told = append(told, s.Phase) }
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
