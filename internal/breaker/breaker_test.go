package breaker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestParse(t *testing.T) {
	facts := Facts{Requests: 100, ErrorRatio: 0.4, FaultRatio: 0.1, Latency: 800 * time.Millisecond}
	for text, want := range map[string]string{
		"error_ratio > 0.3":                                           "true",
		"error_ratio>0.4":                                             "false",
		"error_ratio >= 0.4":                                          "true",
		"fault_ratio < 0.2":                                           "true",
		"latency(0.99) > 500ms":                                       "true",
		"latency( 0.5 )>1s":                                           "false",
		"requests >= 100 && error_ratio > 0.3":                        "true",
		"requests > 100 && error_ratio > 0.3":                         "false",
		"requests > 100 || error_ratio > 0.3":                         "true",
		"fault_ratio > 0.5 || error_ratio > 0.3 && requests > 1000":   "false",
		"(fault_ratio > 0.5 || error_ratio > 0.3) && requests <= 100": "true",
		"":                                       "begins no condition",
		"error_ratio":                            "is compared with nothing",
		"error_ratio > ":                         "no number",
		"error_ratio > 30":                       "is a share",
		"error_ratio > NaN":                      "no number",
		"error_ratio > -1":                       "no number",
		"latency > 1s":                           "needs a quantile",
		"latency(2) > 1s":                        "no quantile",
		"latency(0.5 > 1s":                       "no quantile",
		"latency(0.5) > 1":                       "no time",
		"latency(0.5) > 1s || latency(0.9) > 2s": "two quantiles",
		"(error_ratio > 0.3":                     "not closed",
		"error_ratio > 0.3 )":                    "left over",
		"cpu > 0.3":                              "begins no condition",
		strings.Repeat("(", 50) + "requests > 1": "parentheses",
		strings.Repeat(" ", 2000):                "longer than",
	} {
		e, err := Parse(text)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(e.Holds(&facts))
		}
		if !strings.Contains(got, want) {
			t.Errorf("%.60q: %s, want %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("error_ratio > 0.3 || latency(0.99) > 1s && requests >= 100")
	f.Add("((fault_ratio<=1))")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		e.Holds(&Facts{})
		if again, err := Parse(e.String()); err != nil || again.quantile != e.quantile {
			t.Errorf("%q is not read again: %v", text, err)
		}
	})
}

func newBreaker(t *testing.T, when string) (*Breaker, *[]string) {
	t.Helper()
	e, err := Parse(when)
	if err != nil {
		t.Fatal(err)
	}
	var changes []string
	return New(Config{
		When: e, Window: 10 * time.Second, Least: 20, Hold: 5 * time.Second, Max: 15 * time.Second, Probes: 3,
		OnChange: func(from, to State, _ string) { changes = append(changes, from.String()+">"+to.String()) },
	}, start), &changes
}

func TestLife(t *testing.T) {
	b, changes := newBreaker(t, "error_ratio > 0.5")
	now := start
	ask := func(failed bool) bool {
		now = now.Add(20 * time.Millisecond)
		ok, after := b.Allow(now)
		if ok {
			b.Record(Outcome{Failed: failed, Answered: true, Took: time.Millisecond}, now)
		} else if after <= 0 {
			t.Fatal("refused without a time to come back")
		}
		return ok
	}
	for range 200 {
		if !ask(false) {
			t.Fatal("refused while all goes well")
		}
	}
	refused := 0
	for range 400 { // 8 s of failures: of the last 10 s more than half
		if !ask(true) {
			refused++
		}
	}
	if refused == 0 || b.State() != Open {
		t.Fatalf("%d refused, %s", refused, b.State())
	}
	now = now.Add(15 * time.Second)
	if !ask(true) || b.State() != Open || ask(true) {
		t.Fatal("a probe that fails does not open it again")
	}
	now = now.Add(9 * time.Second)
	if ask(true) {
		t.Fatal("the second time is not longer than the first")
	}
	now = now.Add(2 * time.Second)
	for i := range 3 {
		if !ask(false) {
			t.Fatalf("probe %d is refused", i)
		}
	}
	if b.State() != Closed || !ask(false) {
		t.Fatal("does not close")
	}
	if got := strings.Join(*changes, " "); got != "closed>open open>half_open half_open>open open>half_open half_open>closed" {
		t.Error(got)
	}
}

// TestStaysQuiet: some failures, few requests and slow responses are no reason,
// unless the expression says so.
func TestStaysQuiet(t *testing.T) {
	b, changes := newBreaker(t, "error_ratio > 0.5 || latency(0.9) > 1s")
	now := start
	for i := range 1000 {
		now = now.Add(20 * time.Millisecond)
		if ok, _ := b.Allow(now); !ok {
			t.Fatal("refused")
		}
		b.Record(Outcome{Failed: i%3 == 0, Answered: true, Took: 900 * time.Millisecond}, now)
	}
	few, fewChanges := newBreaker(t, "error_ratio > 0.5")
	for range 60 { // one a second: never 20 in the window
		now = now.Add(time.Second)
		few.Record(Outcome{Failed: true}, now)
	}
	if len(*changes)+len(*fewChanges) > 0 {
		t.Errorf("%v, %v", *changes, *fewChanges)
	}
}

func TestOpensByLatency(t *testing.T) {
	b, _ := newBreaker(t, "latency(0.9) > 1s")
	now := start
	for range 100 {
		now = now.Add(20 * time.Millisecond)
		b.Record(Outcome{Answered: true, Took: 2 * time.Second}, now)
	}
	if b.State() != Open {
		t.Error(b.State())
	}
}

// TestForgottenProbe: a client that leaves takes no probe away for ever.
func TestForgottenProbe(t *testing.T) {
	b, _ := newBreaker(t, "error_ratio > 0.5")
	now := start
	for range 50 {
		now = now.Add(10 * time.Millisecond)
		b.Record(Outcome{Failed: true}, now)
	}
	now = now.Add(time.Minute)
	for range 10 {
		if ok, _ := b.Allow(now); !ok {
			t.Fatal("no probe is left")
		}
		b.Forget()
	}
	for range 3 {
		b.Allow(now)
	}
	if ok, _ := b.Allow(now); ok {
		t.Error("more probes than there may be")
	}
}

// TestLostProbes: requests of which nobody hears again do not keep it half open
// for ever.
func TestLostProbes(t *testing.T) {
	b, _ := newBreaker(t, "error_ratio > 0.5")
	now := start
	for range 50 {
		now = now.Add(10 * time.Millisecond)
		b.Record(Outcome{Failed: true}, now)
	}
	now = now.Add(time.Minute)
	for range 3 {
		b.Allow(now)
	}
	if ok, _ := b.Allow(now); ok {
		t.Fatal("more probes than there may be")
	}
	if ok, _ := b.Allow(now.Add(15 * time.Second)); !ok {
		t.Error("stays half open without a probe")
	}
}

func BenchmarkClosed(b *testing.B) {
	e, _ := Parse("error_ratio > 0.5 || latency(0.99) > 1s")
	br := New(Config{When: e, Window: 10 * time.Second, Least: 20, Hold: time.Second, Max: time.Minute, Probes: 3}, start)
	b.ReportAllocs()
	now := start
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		if ok, _ := br.Allow(now); ok {
			br.Record(Outcome{Answered: true, Took: time.Millisecond}, now)
		}
	}
}
