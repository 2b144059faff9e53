package endpoint

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// life is an endpoint whose ejections last 10 s, 20 s, 30 s, ...
type life struct {
	*Endpoint
	t *testing.T
}

func newLife(t *testing.T) life { return life{members(NewLoad(0, 0), 1)[0], t} }

func at(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }

func tens(n int) time.Duration { return time.Duration(n) * 10 * time.Second }

func (l life) expect(s int, health Health, reason string) {
	l.t.Helper()
	st := l.Status(at(s))
	if st.Health != health || st.Reason != reason || l.Available(at(s)) != (health == Fit) {
		l.t.Fatalf("at %d s: %v (%q), available %v; want %v (%q)", s, st.Health, st.Reason, l.Available(at(s)), health, reason)
	}
}

func (l life) eject(s int, reason string, want int) {
	l.t.Helper()
	ev, ok := l.Eject(at(s), Ejection{Cause: ByConsecutive, Reason: reason, Forgive: 10 * time.Second, Length: tens})
	if !ok || ev.Until != at(want) || ev.Kind != WasEjected || ev.From != Fit || ev.To != Ejected {
		l.t.Fatalf("ejected %v: %+v, want until %v", ok, ev, at(want))
	}
}

func (l life) try(s int, want bool) Trial {
	l.t.Helper()
	trial, _ := l.Try(at(s))
	if (trial.Endpoint != nil) != want {
		l.t.Fatalf("at %d s a trial: %v, want %v", s, trial.Endpoint != nil, want)
	}
	return trial
}

func TestProbation(t *testing.T) {
	l := newLife(t)
	l.expect(0, Fit, "")
	l.try(0, false)
	if n := l.Failed(); n != 1 {
		t.Fatalf("%d failures, want 1", n)
	}
	l.eject(1, "connect", 11)
	l.expect(1, Ejected, "connect")
	l.expect(10, Ejected, "connect")
	if _, ok := l.Eject(at(2), Ejection{Length: tens}); ok {
		t.Fatal("ejected twice")
	}
	if n := l.Failed(); n != 0 {
		t.Fatal("a failure counted while it was ejected")
	}
	l.Succeeded() // late: no effect
	l.try(10, false)
	l.expect(11, Probation, "connect")
	trial := l.try(11, true)
	l.try(11, false) // one at a time
	trial.GiveUp()
	trial = l.try(12, true)
	ev := trial.Bad(at(13), "reset", tens)
	if ev.From != Probation || ev.To != Ejected || ev.Cause != ByProbation || ev.Until != at(33) {
		t.Fatalf("%+v, want an ejection until 33 s", ev)
	}
	l.expect(13, Ejected, "reset")
	trial = l.try(33, true)
	if _, back := trial.Good(at(34), 2); back {
		t.Fatal("one good answer is enough, want 2")
	}
	l.expect(34, Probation, "reset")
	trial = l.try(35, true)
	if ev, back := trial.Good(at(36), 2); !back || ev.From != Probation || ev.To != Fit {
		t.Fatalf("two good answers: back %v, %+v", back, ev)
	}
	l.expect(36, Fit, "")
	if n := l.Failed(); n != 1 {
		t.Fatalf("after its return the count is %d, want 1", n)
	}
	// It is back since 36; one step is forgiven for each 10 s.
	l.eject(46, "connect", 66)
}

// TestProbationForgivesNothing: what waits for a request for long has not been
// good for long.
func TestProbationForgivesNothing(t *testing.T) {
	l := newLife(t)
	l.eject(0, "connect", 10)
	trial := l.try(10_000, true)
	if ev := trial.Bad(at(10_000), "connect", tens); ev.Until != at(10_020) {
		t.Errorf("until %v, want 20 s", ev.Until.Sub(at(10_000)))
	}
}

func TestProbationBegins(t *testing.T) {
	l := newLife(t)
	l.eject(0, "connect", 10)
	trial, began := l.Try(at(10))
	if began == nil || began.Kind != OnProbation || began.From != Ejected || began.To != Probation {
		t.Fatalf("%+v", began)
	}
	trial.GiveUp()
	if trial, began = l.Try(at(11)); began != nil {
		t.Errorf("it began twice: %+v", began)
	}
	trial.Bad(at(11), "connect", tens)
	if _, began = l.Try(at(31)); began == nil {
		t.Error("the next probation did not begin")
	}
}

// TestUnfitIsNotTried: a check that says no is not overruled by a request.
func TestUnfitIsNotTried(t *testing.T) {
	l := newLife(t)
	l.eject(0, "connect", 10)
	ev, first := l.Checked(false, ByAnswer, "503 from /ready", at(5))
	if _, again := l.Checked(false, ByTimeout, "timeout", at(6)); !first || again {
		t.Fatal("a change of the verdict was not told once")
	}
	if ev.Kind != FoundUnfit || ev.From != Ejected || ev.To != Unfit || ev.Cause != ByAnswer {
		t.Errorf("told %+v", ev)
	}
	l.expect(6, Unfit, "timeout")
	l.expect(20, Unfit, "timeout")
	l.try(20, false)
	if ev, changed := l.Checked(true, ByCheck, "the check succeeded", at(21)); !changed || ev.Kind != FoundFit || ev.To != Probation {
		t.Fatalf("the good verdict was not told: %+v", ev)
	}
	l.expect(21, Probation, "connect")
	trial := l.try(21, true)
	l.Checked(false, ByAnswer, "timeout", at(22)) // meanwhile
	if ev, back := trial.Good(at(23), 1); !back || ev.To != Unfit {
		t.Errorf("%v: %+v", back, ev)
	}
	l.Checked(true, ByAnswer, "", at(24))
	l.expect(24, Fit, "")
}

func TestHeirOfEjected(t *testing.T) {
	l := newLife(t)
	l.eject(0, "connect", 10)
	heir := life{New(Spec{Network: "tcp", Address: l.Address, Weight: 1}, NewLoad(0, 0), at(5)), t}
	heir.Inherit(l.Endpoint)
	heir.expect(9, Ejected, "connect")
	heir.try(9, false)
	trial := l.try(10, true) // of the one that is replaced
	late := life{New(Spec{Network: "tcp", Address: l.Address, Weight: 1}, NewLoad(0, 0), at(11)), t}
	late.Inherit(l.Endpoint)
	late.expect(11, Probation, "connect")
	own := late.try(11, true)
	trial.Good(at(12), 1)
	late.expect(12, Probation, "connect")
	own.Good(at(12), 1)
	late.expect(12, Fit, "")
	if late.Status(at(12)).Ejections != 1 {
		t.Error("the ejection is forgotten")
	}
}

// TestOneTrial: of many that come at once, one gets it.
func TestOneTrial(t *testing.T) {
	l := newLife(t)
	for round := range 3000 {
		l.Eject(at(100*round), Ejection{Length: func(int) time.Duration { return time.Second }})
		var trials atomic.Int64
		var wg sync.WaitGroup
		together := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				<-together
				if trial, _ := l.Try(at(100*round + 2)); trial.Endpoint != nil {
					trials.Add(1)
				}
			})
		}
		close(together)
		wg.Wait()
		if n := trials.Load(); n != 1 {
			t.Fatalf("%d trials", n)
		}
		Trial{Endpoint: l.Endpoint}.Good(at(100*round+3), 1)
	}
}

func TestJournal(t *testing.T) {
	j := NewJournal()
	for i := range journalLength + 3 {
		j.Add(Event{At: at(i), Kind: FoundUnfit, Cause: ByTimeout})
	}
	j.Add(Event{At: at(1000), Kind: Returned, Cause: ByProbation})
	events := j.Events()
	if len(events) != journalLength || events[0].At != at(1000) || events[1].At != at(journalLength+2) || events[journalLength-1].At != at(4) {
		t.Errorf("%d events, from %v to %v", len(events), events[0].At, events[len(events)-1].At)
	}
	got := map[string]int64{}
	j.Each(func(kind EventKind, cause Cause, n int64) { got[kind.String()+" "+cause.String()] = n })
	if len(got) != 2 || got["unfit timeout"] != journalLength+3 || got["returned probation"] != 1 {
		t.Errorf("counted %v", got)
	}
	if n := len(NewJournal().Events()); n != 0 {
		t.Errorf("%d events of nothing", n)
	}
}
