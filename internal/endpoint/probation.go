package endpoint

import "time"

// Ejection is why an endpoint is taken out, and for how long.
type Ejection struct {
	Cause  Cause
	Reason string
	// Slow is how long an answer of the probation takes at the most; 0: as long as
	// it likes.
	Slow time.Duration
	// Forgive: the number that Length goes by is one more than at the last ejection,
	// less one for each Forgive that has passed since the return. 0: never less.
	Forgive time.Duration
	Length  func(n int) time.Duration
}

// Eject takes the endpoint out, unless it is.
func (e *Endpoint) Eject(now time.Time, why Ejection) (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &e.health
	if e.state.Load()&held != 0 {
		return Event{}, false
	}
	if why.Forgive > 0 && h.level > 0 {
		h.level = max(h.level-int(now.Sub(h.back)/why.Forgive), 0)
	}
	h.cause, h.slow = why.Cause, why.Slow
	return e.out(now, why), true
}

// out is Eject under the lock, with everything decided.
func (e *Endpoint) out(now time.Time, why Ejection) Event {
	h, from := &e.health, e.healthAt(now)
	h.level++
	h.times++
	h.proved = 0
	h.reason, h.from, h.until, h.checked = why.Reason, now, now.Add(why.Length(h.level)), false
	e.state.Store(uint64(h.until.Sub(e.born))<<stateBits | held | e.state.Load()&unfit)
	e.load.changes.Add(1)
	return Event{
		At: now, Kind: WasEjected, Address: e.Address, From: from, To: e.healthAt(now), Cause: why.Cause, Reason: why.Reason, Until: h.until,
	}
}

// EndByCheck ends the time of an ejection, because a check says that the endpoint
// is well: requests are to prove it from now on. It is false when there was no time
// left to end.
func (e *Endpoint) EndByCheck(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state.Load()
	if s&held == 0 || !e.endsAt(s).After(now) {
		return false
	}
	e.health.until, e.health.checked = now, true
	e.state.Store(uint64(max(now.Sub(e.born), 0))<<stateBits | s&(unfit|held|trying))
	return true
}

// Due tells when a request is to prove the endpoint; waiting is false while none
// is to, or one is under way.
func (e *Endpoint) Due() (at time.Time, waiting bool) {
	s := e.state.Load()
	return e.born.Add(time.Duration(s >> stateBits)), s&(held|trying) == held
}

// Trial is a request that is to prove an endpoint. Whoever has it ends it by one
// of its methods, once. The zero value is no trial.
type Trial struct {
	Endpoint *Endpoint
	Cause    Cause         // of the ejection
	Slow     time.Duration // from here on an answer is too slow; 0: never
}

// Try makes a request the trial of an endpoint that is due. There is one at a
// time. began is the event of its probation, if this is the first trial.
func (e *Endpoint) Try(now time.Time) (trial Trial, began *Event) {
	if at, waiting := e.Due(); !waiting || at.After(now) {
		return Trial{}, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	h, s := &e.health, e.state.Load()
	if s&(held|trying|unfit) != held || e.endsAt(s).After(now) {
		return Trial{}, nil
	}
	e.state.Store(s | trying)
	trial = Trial{Endpoint: e, Cause: h.cause, Slow: h.slow}
	if h.tried == h.times {
		return trial, nil
	}
	h.tried = h.times
	began = &Event{
		At: now, Kind: OnProbation, Address: e.Address, From: Ejected, To: Probation, Cause: ByTime,
		Reason: "the ejection is over: one request at a time is to prove it (" + h.reason + ")",
	}
	if h.checked {
		began.Cause, began.Reason = ByCheck, "a check succeeded and ended the ejection: one request at a time is to prove it ("+h.reason+")"
	}
	return trial, began
}

// Good ends a trial whose answer speaks for the endpoint. After as many as are
// needed in a row, it is back.
func (t Trial) Good(now time.Time, needed int) (event Event, back bool) {
	e := t.Endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	h, from := &e.health, e.healthAt(now)
	if h.proved++; h.proved < needed {
		e.state.Store(e.state.Load() &^ trying)
		return Event{}, false
	}
	h.back = now
	e.consecutive.Store(0)
	e.rise.Store(int64(max(now.Sub(e.born), 1)))
	e.state.Store(e.state.Load() & unfit)
	e.load.changes.Add(1)
	return Event{
		At: now, Kind: Returned, Address: e.Address, From: from, To: e.healthAt(now), Cause: ByProbation, Reason: "it answered as it should on probation",
	}, true
}

// Bad ends a trial whose answer speaks against the endpoint: it is out again, for
// the next longer time.
func (t Trial) Bad(now time.Time, reason string, length func(n int) time.Duration) Event {
	e := t.Endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.out(now, Ejection{Cause: ByProbation, Reason: reason, Length: length})
}

// GiveUp ends a trial that says nothing: the next request may try.
func (t Trial) GiveUp() {
	e := t.Endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Store(e.state.Load() &^ trying)
}
