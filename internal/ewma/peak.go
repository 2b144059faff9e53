// Package ewma keeps moving averages that forget with time: an observation
// counts the less the longer it is ago, whatever came between.
package ewma

import (
	"math"
	"sync/atomic"
	"time"
)

// tick is the unit of time of a Peak, about a millisecond. 32 bits of it are 52
// days: an average that nobody touched for longer looks younger than it is.
const tick = 1 << 20 * time.Nanosecond

// Peak is an average that rises at once and falls slowly: an observation above
// it takes its place, one below draws it down by as much as the time since the
// last one says. While nothing is observed it falls towards 0, so that what was
// bad once is looked at again. The zero value has observed nothing.
//
// Average and time share one word, so that a reader never sees one without the
// other and nobody waits: the float32 in the upper half, ticks in the lower.
type Peak struct{ word atomic.Uint64 }

// Value is the average at a time, counted from any fixed one; ok is false when
// nothing was ever observed. decay is the time in which an average without
// observations falls to 1/e (37 %).
func (p *Peak) Value(at, decay time.Duration) (value float64, ok bool) {
	word := p.word.Load()
	if word == 0 {
		return 0, false
	}
	average, age := unpack(word, ticks(at))
	if age == 0 {
		return average, true
	}
	return average * forgotten(age, decay), true
}

// Observe takes a value in, which is more than 0.
func (p *Peak) Observe(value float64, at, decay time.Duration) {
	p.update(value, at, decay, func(average, w float64) float64 { return average*w + value*(1-w) })
}

// AtLeast takes in that something was not less than value: it may raise the
// average and never lowers it.
func (p *Peak) AtLeast(value float64, at, decay time.Duration) {
	p.update(value, at, decay, nil)
}

// update replaces the average by the larger one of value and lower, or value
// and the average as it stands. It tries a few times: when others are faster,
// theirs are observations as good as this one.
func (p *Peak) update(value float64, at, decay time.Duration, lower func(average, w float64) float64) {
	now := ticks(at)
	for range 4 {
		word := p.word.Load()
		next := value
		if word != 0 {
			average, age := unpack(word, now)
			w := forgotten(age, decay)
			switch {
			case value >= average*w:
			case lower == nil:
				return
			default:
				next = lower(average, w)
			}
		}
		if p.word.CompareAndSwap(word, pack(next, now)) {
			return
		}
	}
}

// Reset forgets everything.
func (p *Peak) Reset() { p.word.Store(0) }

// Copy takes over what other knows; shift is how much later its fixed time is.
func (p *Peak) Copy(other *Peak, shift time.Duration) {
	word := other.word.Load()
	if word == 0 {
		p.word.Store(0)
		return
	}
	p.word.Store(word&^math.MaxUint32 | uint64(uint32(word)+uint32(int64(shift/tick))))
}

func ticks(at time.Duration) uint32 { return uint32(at / tick) }

// pack keeps 0 for "nothing observed".
func pack(value float64, at uint32) uint64 {
	bits := max(math.Float32bits(float32(value)), 1)
	return uint64(bits)<<32 | uint64(at)
}

// unpack gives the average and its age. An update that carries an earlier time
// than the last one has no age.
func unpack(word uint64, now uint32) (average float64, age uint32) {
	if age = now - uint32(word); int32(age) < 0 {
		age = 0
	}
	return float64(math.Float32frombits(uint32(word >> 32))), age
}

// forgotten is e^(-age/decay), by way of a power of two with a polynomial for its
// broken part: within 0.01 %, never more than 1, and several times as fast as
// math.Exp, which a pick would call twice.
func forgotten(age uint32, decay time.Duration) float64 {
	if age == 0 {
		return 1
	}
	x := float64(age) * float64(tick) / float64(decay) * math.Log2E
	if x >= 1000 {
		return 0
	}
	whole := int(x)
	f := x - float64(whole)
	part := 1 + f*(-0.69314718+f*(0.24022651+f*(-0.05550411+f*(0.00961813-f*0.00119))))
	return part * math.Float64frombits(uint64(1023-whole)<<52)
}
