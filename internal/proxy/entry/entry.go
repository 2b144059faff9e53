// Package entry stands right behind the answer stage and settles who the
// client is before anything else runs: it removes the forwarding and identity
// fields that a peer may not write (stream.Owner), finds the client's address
// by the trust rules of the listener, gives the exchange its id, and writes
// the forwarding fields that the upstream sees.
package entry

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// Config is what the document says of a listener.
type Config struct {
	// Trust are the ranges of peers whose forwarding fields are believed.
	// Empty: nobody's. A Unix socket has no address; the rights of the file
	// say who may connect, and its peer is trusted if any range is.
	Trust []netip.Prefix
	// RFC7239 writes Forwarded beside X-Forwarded-*. It is read, from trusted
	// peers, only when there is no X-Forwarded-For.
	RFC7239 bool
	// Via is the name to write in Via fields, by which loops are found too.
	// Empty: neither.
	Via string
	// Listener is the name of the listener, for the log.
	Listener string
	// NewID makes request ids; nil: 128 random bits in hexadecimal.
	NewID func() string
}

// Stats counts what entry decided. The engine reads it on scrape.
type Stats struct {
	Stripped atomic.Int64 // fields removed because the peer may not write them
	Loops    atomic.Int64 // requests refused because they went round in circles
}

// maxOwnVia is how often the own name may stand in Via: some set-ups pass the
// same proxy twice on purpose, none this often.
const maxOwnVia = 10

// Stage is the entry stage.
type Stage struct {
	next  stream.Service
	cfg   Config
	via   [stream.HTTP3 + 1]string // the field to add, by protocol
	stats Stats
}

// New makes the stage around next.
func New(next stream.Service, cfg Config) *Stage {
	e := &Stage{next: next, cfg: cfg}
	e.cfg.Trust = make([]netip.Prefix, len(cfg.Trust))
	for i, p := range cfg.Trust {
		e.cfg.Trust[i] = unmapPrefix(p)
	}
	if cfg.Via != "" {
		for proto, version := range [...]string{stream.HTTP10: "1.0", stream.HTTP11: "1.1", stream.HTTP2: "2", stream.HTTP3: "3"} {
			e.via[proto] = version + " " + cfg.Via
		}
	}
	return e
}

// Stats is what has been counted so far.
func (e *Stage) Stats() *Stats { return &e.stats }

// Serve settles who the client is and passes the request on.
func (e *Stage) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if e.cfg.Via != "" && ownVias(&req.Header, e.cfg.Via) > maxOwnVia {
		e.stats.Loops.Add(1)
		req.Body.Close()
		return nil, stream.Faultf(stream.LoopDetected, stream.RetryNever,
			"listener %s: Via names %q more than %d times", e.cfg.Listener, e.cfg.Via, maxOwnVia)
	}
	var f facts
	e.read(req, &f)
	e.strip(&req.Header, f.trusted)
	e.write(req, &f)
	return e.next.Serve(ctx, req)
}

// strip removes every owned field that does not pass on as it is.
func (e *Stage) strip(h *stream.Header, trusted bool) {
	fields, first := h.Fields(), 0
	for first < len(fields) && stream.Owner(&fields[first]) == stream.NotOwned {
		first++
	}
	if first == len(fields) { // the usual case: nothing moves
		return
	}
	stripped := int64(0)
	h.DelFunc(func(f *stream.Field) bool {
		switch stream.Owner(f) {
		case stream.NotOwned:
			return false
		case stream.OwnedVouched:
			if trusted {
				return false
			}
		case stream.OwnedWritten:
			if trusted { // replaced, not stripped
				return true
			}
		}
		stripped++
		return true
	})
	if stripped > 0 {
		e.stats.Stripped.Add(stripped)
	}
}
