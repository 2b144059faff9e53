package endpoint

import (
	"sync"
	"sync/atomic"
	"time"
)

// EventKind is what happened to the health of an endpoint.
type EventKind uint8

// The kinds.
const (
	FoundUnfit  EventKind = iota // by a check
	FoundFit                     // by a check
	WasEjected                   // for what it answered, or for what it answered on probation
	OnProbation                  // the time of an ejection is over: requests are to prove it
	Returned                     // they did
	NumEventKinds
)

var eventNames = [NumEventKinds]string{"unfit", "fit", "ejected", "probation", "returned"}

func (k EventKind) String() string { return eventNames[k] }

// Cause is the class of the reason for a change.
type Cause uint8

// The causes: what checks found, and what requests did.
const (
	ByCheck       Cause = iota // the checks succeeded
	ByTimeout                  // no answer to a check in time
	ByConnect                  // no connection for a check
	ByHandshake                // no TLS for a check
	ByStatus                   // a check was answered with a bad status
	ByAnswer                   // it was answered with something else
	ByConsecutive              // failures in a row
	BySuccessRate              // fewer successes than the others
	ByFailureRate              // nearly nothing but failures
	ByLatency                  // slower than the others
	ByTime                     // the ejection is over
	ByProbation                // the requests of the probation
	NumCauses
)

var causeNames = [NumCauses]string{
	"check", "timeout", "connect", "tls", "status", "answer", "consecutive", "success_rate", "failure_rate", "latency", "time", "probation",
}

func (c Cause) String() string { return causeNames[c] }

// Event is one change of the health of an endpoint.
type Event struct {
	At       time.Time
	Kind     EventKind
	Address  string
	From, To Health
	Cause    Cause
	Reason   string    // in words, for people
	Until    time.Time // the end of an ejection; else zero
}

// journalLength is how many events a Journal keeps: at the default times, an
// endpoint that is ejected again and again makes one in minutes.
const journalLength = 200

// Journal keeps the last events of a cluster, and counts all. Make one with
// NewJournal.
type Journal struct {
	counts [NumEventKinds][NumCauses]atomic.Int64

	mu   sync.Mutex
	last []Event // a ring, once it is full
	next int     // where in it the next one goes
}

// NewJournal makes one without events.
func NewJournal() *Journal { return new(Journal) }

// Add writes an event down.
func (j *Journal) Add(e Event) {
	j.counts[e.Kind][e.Cause].Add(1)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.last) < journalLength {
		j.last = append(j.last, e)
		return
	}
	j.last[j.next] = e
	j.next = (j.next + 1) % journalLength
}

// Events are the last ones, the newest first.
func (j *Journal) Events() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := make([]Event, 0, len(j.last))
	for i := range j.last {
		at := (j.next + len(j.last) - 1 - i) % len(j.last)
		events = append(events, j.last[at])
	}
	return events
}

// Each calls f for every combination of kind and cause that ever was.
func (j *Journal) Each(f func(kind EventKind, cause Cause, times int64)) {
	for kind := range NumEventKinds {
		for cause := range NumCauses {
			if n := j.counts[kind][cause].Load(); n > 0 {
				f(kind, cause, n)
			}
		}
	}
}
