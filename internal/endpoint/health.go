package endpoint

import (
	"cmp"
	"time"
)

// Health says what an endpoint is fit for.
type Health uint8

// The states. An endpoint that is unfit and something else counts as unfit.
const (
	Fit       Health = iota
	Ejected          // for what it answered, until a time
	Unfit            // an active check says so; comes back by a check
	Probation        // that time is over; a request at a time is to prove it
)

var healthNames = [...]string{"fit", "ejected", "unfit", "probation"}

func (h Health) String() string { return healthNames[h] }

// The bits of Endpoint.state. Above them stands the end of an ejection, in
// nanoseconds since born.
const (
	unfit  uint64 = 1 << iota // active checks say so
	held                      // ejected, and not proved to be good again
	trying                    // a request is under way that is to prove it

	stateBits = iota
)

// record is the history behind Endpoint.state, for people and for the length
// of the next ejection. Every field is guarded by Endpoint.mu.
type record struct {
	since time.Time // the last change between fit and unfit
	check string    // why the last active check found it unfit; "" when fit

	cause   Cause         // of the last ejection that was not one of a probation
	slow    time.Duration // what is too slow on probation; 0: nothing
	reason  string        // why it was ejected last
	from    time.Time     // the last ejection began
	until   time.Time     // the last ejection ends
	checked bool          // by a check
	back    time.Time     // the last return
	level   int           // the number that the length of an ejection grows with
	times   int64         // ejections ever
	tried   int64         // the last one of these that came to a trial
	proved  int           // good trials since the last ejection
}

// Available tells whether the endpoint is fit for any request: not unfit, not
// ejected, not on probation.
func (e *Endpoint) Available(time.Time) bool { return e.state.Load()&(unfit|held) == 0 }

// Unfit tells whether active checks found it unfit.
func (e *Endpoint) Unfit() bool { return e.state.Load()&unfit != 0 }

// Ejected tells whether it is out for what it answered, the probation included.
func (e *Endpoint) Ejected() bool { return e.state.Load()&held != 0 }

func (e *Endpoint) endsAt(state uint64) time.Time {
	return e.born.Add(time.Duration(state >> stateBits))
}

// healthAt is the health at a time.
func (e *Endpoint) healthAt(now time.Time) Health {
	s := e.state.Load()
	switch {
	case s&unfit != 0:
		return Unfit
	case s&held == 0:
		return Fit
	case e.endsAt(s).After(now):
		return Ejected
	}
	return Probation
}

// Checked is the verdict of the active checks, thresholds applied. changed tells
// whether it is another one than before.
func (e *Endpoint) Checked(fit bool, cause Cause, reason string, now time.Time) (event Event, changed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.check = reason
	s := e.state.Load()
	if (s&unfit == 0) == fit {
		return Event{}, false
	}
	from := e.healthAt(now)
	e.health.since = now
	e.state.Store(s ^ unfit)
	if fit {
		e.rise.Store(max(e.rise.Load(), int64(max(now.Sub(e.born), 1))))
	}
	e.load.changes.Add(1)
	event = Event{At: now, Kind: FoundUnfit, Address: e.Address, From: from, To: e.healthAt(now), Cause: cause, Reason: reason}
	if fit {
		event.Kind = FoundFit
	}
	return event, true
}

// Succeeded is a response that speaks for the endpoint. One that arrives while
// it is ejected is older than the ejection, or says little.
func (e *Endpoint) Succeeded() {
	if e.consecutive.Load() != 0 && !e.Ejected() {
		e.consecutive.Store(0)
	}
}

// Failed is a failure of the endpoint; the result is how many there were in a
// row. While it is ejected they count in the sum alone.
func (e *Endpoint) Failed() (consecutive int) {
	e.failures.Add(1)
	if e.Ejected() {
		return 0
	}
	return int(e.consecutive.Add(1))
}

// Inherit takes over what is known of an endpoint that this one replaces. A
// trial of that one goes on and says nothing here.
func (e *Endpoint) Inherit(from *Endpoint) {
	from.mu.Lock()
	h, bits, consecutive := from.health, from.state.Load()&(unfit|held), from.consecutive.Load()
	from.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health = h
	e.consecutive.Store(consecutive)
	if bits&held != 0 {
		bits |= uint64(max(h.until.Sub(e.born), 0)) << stateBits
	}
	e.state.Store(bits)
	later := e.born.Sub(from.born)
	if rise := from.rise.Load(); rise != 0 {
		e.rise.Store(cmp.Or(rise-int64(later), 1))
	}
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
	Pending     int64 // attempts that wait for a connection
	Full        bool  // it has no room for one more
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
		InFlight: e.inFlight.Load(), Pending: e.pending.Load(), Full: !e.HasRoom(), Requests: e.requests.Load(), Failures: e.failures.Load(),
		Consecutive: e.consecutive.Load(),
	}
	if e.Transport != nil {
		st.Open, st.Idle = e.Transport.Connections()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &e.health
	st.Ejections = h.times
	switch st.Health = e.healthAt(now); st.Health {
	case Unfit:
		st.Reason, st.Since = h.check, h.since
	case Ejected:
		st.Reason, st.Since, st.Until = h.reason, h.from, h.until
	case Probation:
		st.Reason, st.Since = h.reason, h.until
	case Fit:
		if st.Since = h.since; h.back.After(st.Since) {
			st.Since = h.back
		}
	}
	return st
}
