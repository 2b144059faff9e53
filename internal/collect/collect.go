// Package collect paces the collection of garbage.
package collect

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// room is how many bytes are allocated between two collections at least. The
	// runtime starts one when the heap has doubled; a proxy with few routes lives in
	// three megabytes and would collect them twenty times a second under load.
	room = 16 << 20
	// The bounds of the percentage (see debug.SetGCPercent). From 16 MB of live heap
	// on it is what the runtime does by itself; its smallest heap, 4 MB, grows with
	// the percentage to room.
	least, most = 100, 400
)

// Pacer keeps collections apart. The limit of memory, where there is one, counts
// more (see debug.SetMemoryLimit).
type Pacer struct {
	percent int // set last
	samples []metrics.Sample
}

// New makes a Pacer, or none, which does nothing, when whoever started the process
// has decided how it collects (GOGC).
func New() *Pacer {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return &Pacer{percent: least, samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
}

// Adjust looks at what the last collection left. It is to be called now and then,
// never by two at once.
func (p *Pacer) Adjust() {
	if p == nil {
		return
	}
	metrics.Read(p.samples)
	if p.samples[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	// A change stops the world for a moment, so that small ones are not made.
	if next := percent(p.samples[0].Value.Uint64()); next*8 < p.percent*7 || next*7 > p.percent*8 {
		p.percent = next
		debug.SetGCPercent(next)
	}
}

// percent is how much of live may be allocated before the next collection.
func percent(live uint64) int {
	if live == 0 { // there was none
		return most
	}
	return int(min(max(100*room/live, least), most))
}
