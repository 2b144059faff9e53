package fault

import (
	"math/rand/v2"
	"time"
)

// dice is where chance comes from. Tests have their own.
type dice interface {
	Float64() float64     // in [0, 1)
	NormFloat64() float64 // of the standard normal distribution
}

// chance is that of the runtime, which is per thread and takes no lock.
type chance struct{}

func (chance) Float64() float64     { return rand.Float64() }
func (chance) NormFloat64() float64 { return rand.NormFloat64() }

// pause is how long a request waits, at most Max.
func (d *Delay) pause(by dice) time.Duration {
	var p time.Duration
	switch {
	case d.Fixed != nil:
		p = time.Duration(*d.Fixed)
	case d.Uniform != nil:
		p = between(time.Duration(d.Uniform.Min), time.Duration(d.Uniform.Max), by)
	case d.Normal != nil:
		// Bounded as a number: as a time it could overflow.
		far := float64(d.Normal.Mean) + by.NormFloat64()*float64(d.Normal.Deviation)
		p = time.Duration(min(max(far, 0), float64(d.Max)))
	default:
		p = d.fromHistogram(by)
	}
	return min(p, time.Duration(d.Max))
}

func between(least, most time.Duration, by dice) time.Duration {
	return least + time.Duration(by.Float64()*float64(most-least))
}

func (d *Delay) fromHistogram(by dice) time.Duration {
	sum := 0
	for _, b := range d.Histogram {
		sum += b.Weight
	}
	at, begin := int(by.Float64()*float64(sum)), time.Duration(0)
	for _, b := range d.Histogram {
		if at < b.Weight {
			return between(begin, time.Duration(b.UpTo), by)
		}
		at -= b.Weight
		begin = time.Duration(b.UpTo)
	}
	return begin // rounding
}
