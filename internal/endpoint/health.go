package endpoint

import (
	"cmp"
	"time"
)

// Health says what an endpoint is fit for.
type Health uint8

// The states. An endpoint that is both unfit and ejected counts as unfit.
const (
	Fit     Health = iota
	Ejected        // failed real requests; comes back by itself at Until
	Unfit          // an active check says so; comes back by a check
)

var healthNames = [...]string{"fit", "ejected", "unfit"}

func (h Health) String() string { return healthNames[h] }

// unfit is bit 0 of Endpoint.state.
const unfit uint64 = 1

// record is the history behind Endpoint.state, for people and for the length
// of the next ejection. Every field is guarded by Endpoint.mu.
type record struct {
	since  time.Time // the last change between fit and unfit
	check  string    // why the last active check found it unfit; "" when fit
	reason string    // why it was ejected last
	from   time.Time // the last ejection began
	until  time.Time // the last ejection ends
	level  int       // the number that the length of an ejection grows with
	times  int64     // ejections ever
}

// Available tells whether the endpoint is neither unfit nor ejected.
func (e *Endpoint) Available(now time.Time) bool {
	s := e.state.Load()
	return s == 0 || s&unfit == 0 && !e.outAt(s, now)
}

// Unfit tells whether active checks found it unfit.
func (e *Endpoint) Unfit() bool { return e.state.Load()&unfit != 0 }

// Ejected tells whether it is out for failed requests.
func (e *Endpoint) Ejected(now time.Time) bool {
	s := e.state.Load()
	return s != 0 && e.outAt(s, now)
}

func (e *Endpoint) outAt(state uint64, now time.Time) bool {
	return time.Duration(state>>1) > now.Sub(e.born)
}

// Checked is the verdict of the active checks, thresholds applied. The result
// tells whether it changed anything.
func (e *Endpoint) Checked(fit bool, reason string, now time.Time) (changed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if fit {
		reason = ""
	}
	e.health.check = reason
	s := e.state.Load()
	if (s&unfit == 0) == fit {
		return false
	}
	e.health.since = now
	e.state.Store(s ^ unfit)
	if fit {
		e.rise.Store(max(e.rise.Load(), int64(max(now.Sub(e.born), 1))))
	}
	e.load.changes.Add(1)
	return true
}

// Succeeded is a response that speaks for the endpoint. One that arrives while
// it is ejected is older than the ejection, or says little.
func (e *Endpoint) Succeeded(now time.Time) {
	if e.consecutive.Load() != 0 && !e.Ejected(now) {
		e.consecutive.Store(0)
	}
}

// Failed is a failure of the endpoint; the result is how many there were in a
// row. While it is ejected they count in the sum alone.
func (e *Endpoint) Failed(now time.Time) (consecutive int) {
	e.failures.Add(1)
	if e.Ejected(now) {
		return 0
	}
	return int(e.consecutive.Add(1))
}

// Eject takes the endpoint out for length(n). n is one more than at the last
// ejection, less one for each forgive that has passed since that ended. The
// number of consecutive failures is kept: after its return one failure is
// enough, one success wipes it.
func (e *Endpoint) Eject(now time.Time, reason string, forgive time.Duration, length func(n int) time.Duration) (until time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	if e.outAt(s, now) {
		return e.health.until, false
	}
	h := &e.health
	if forgive > 0 && h.level > 0 {
		h.level = max(h.level-int(now.Sub(h.until)/forgive), 0)
	}
	h.level++
	h.times++
	h.reason, h.from, h.until = reason, now, now.Add(length(h.level))
	e.state.Store(uint64(h.until.Sub(e.born))<<1 | s&unfit)
	e.rise.Store(int64(h.until.Sub(e.born)))
	e.load.changes.Add(1)
	return h.until, true
}

// outUntil is the end of the last ejection.
func (e *Endpoint) outUntil() time.Time {
	return e.born.Add(time.Duration(e.state.Load() >> 1))
}

// Inherit takes over what is known of an endpoint that this one replaces.
func (e *Endpoint) Inherit(from *Endpoint) {
	from.mu.Lock()
	h, report, unfitBit, consecutive := from.health, from.reported, from.state.Load()&unfit, from.consecutive.Load()
	from.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health = h
	e.consecutive.Store(consecutive)
	out := max(h.until.Sub(e.born), 0)
	e.state.Store(uint64(out)<<1 | unfitBit)
	later := e.born.Sub(from.born)
	if rise := from.rise.Load(); rise != 0 {
		e.rise.Store(cmp.Or(rise-int64(later), 1))
	}
	e.reported = report
	e.factor.Store(from.factor.Load())
	e.latency.Copy(&from.latency, -later)
	e.load.changes.Add(1)
}

// Status is an endpoint at one moment, for people.
type Status struct {
	Network, Address, Host string
	Weight                 int
	Place                  Place

	Health Health
	Reason string    // why it is not fit; "" when it is
	Since  time.Time // of Health
	Until  time.Time // end of the ejection; zero when not ejected

	InFlight    int64
	Requests    int64 // attempts ever
	Failures    int64 // that count for ejection
	Consecutive int64
	Ejections   int64
	Open, Idle  int // connections
}

// Status is the endpoint now.
func (e *Endpoint) Status(now time.Time) Status {
	st := Status{
		Network: e.Network, Address: e.Address, Host: e.Host, Weight: e.Weight(), Place: e.Place(),
		InFlight: e.inFlight.Load(), Requests: e.requests.Load(), Failures: e.failures.Load(),
		Consecutive: e.consecutive.Load(),
	}
	if e.Transport != nil {
		st.Open, st.Idle = e.Transport.Connections()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h, s := &e.health, e.state.Load()
	st.Ejections = h.times
	out := e.outAt(s, now)
	if out {
		st.Until = h.until
	}
	switch {
	case s&unfit != 0:
		st.Health, st.Reason, st.Since = Unfit, h.check, h.since
	case out:
		st.Health, st.Reason, st.Since = Ejected, h.reason, h.from
	default:
		st.Since = h.since
		if h.until.After(st.Since) {
			st.Since = h.until
		}
	}
	return st
}
