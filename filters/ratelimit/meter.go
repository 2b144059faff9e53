package ratelimit

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/gcra"
)

// meter says where the floor and the ceiling of the levels of a limit are.
type meter interface {
	fmt.Stringer
	read(now, begun time.Time) reading
	size() int64 // events that may come at once
	// What a store needs: the arguments of the script, and what tells one window
	// from the next.
	args(want int64, now time.Time) []string
	window(now time.Time) string
}

// reading of a meter.
type reading struct {
	floor, ceiling, cost int64
	limit                int64
	end                  time.Duration // until the window ends; 0: there is none
}

func (r *reading) verdict(level int64) verdict {
	v := verdict{limit: r.limit, left: max(0, (r.ceiling-level)/r.cost), wait: r.end, reset: r.end}
	if r.end == 0 {
		v.wait, v.reset = time.Duration(max(0, level+r.cost-r.ceiling)), time.Duration(level-r.floor)
	}
	return v
}

func newMeter(spec *Limit) (meter, error) {
	if spec.Quota != nil {
		zone, err := time.LoadLocation(spec.Quota.Zone)
		if err != nil {
			return nil, err
		}
		return &quota{amount: spec.Quota.Amount, per: spec.Quota.Per, zone: zone}, nil
	}
	rate, err := gcra.NewRate(int64(spec.Rate.Count), spec.Rate.Per, burstOf(spec.Rate, spec.Burst))
	return pace(rate), err
}

// burstOf: what one unit of time allows may come at once, unless it is said
// otherwise.
func burstOf(rate config.Rate, burst int64) int64 {
	if burst == 0 {
		return int64(rate.Count)
	}
	return burst
}

// pace is the meter of a rate.
type pace gcra.Rate

func (p pace) String() string { return fmt.Sprintf("rate %d %d", p.Every, p.Burst) }

func (p pace) read(now, begun time.Time) reading {
	at := int64(now.Sub(begun))
	return reading{floor: at, ceiling: gcra.Rate(p).Ceiling(at), cost: int64(p.Every), limit: p.Burst}
}

func (p pace) size() int64 { return p.Burst }

func (p pace) window(time.Time) string { return "" }

func (p pace) args(want int64, _ time.Time) []string {
	every := strconv.FormatFloat(float64(p.Every)/float64(time.Microsecond), 'f', -1, 64)
	return []string{every, strconv.FormatInt(p.Burst, 10), strconv.FormatInt(want, 10)}
}

// quota is the meter of an amount in a day or month of the calendar.
type quota struct {
	amount  int64
	per     string
	zone    *time.Location
	current atomic.Pointer[span]
}

// span is one day or month.
type span struct {
	start, end time.Time
	floor      int64
}

// windowBits leave room for the count below the number of the window.
const windowBits = 40

func (q *quota) String() string { return fmt.Sprintf("quota %d %s %s", q.amount, q.per, q.zone) }

func (q *quota) read(now, _ time.Time) reading {
	w := q.at(now)
	return reading{floor: w.floor, ceiling: w.floor + q.amount, cost: 1, limit: q.amount, end: max(w.end.Sub(now), time.Nanosecond)}
}

func (q *quota) size() int64 { return q.amount }

func (q *quota) window(now time.Time) string { return " " + q.at(now).start.Format(time.DateOnly) }

func (q *quota) args(want int64, now time.Time) []string {
	left := q.at(now).end.Sub(now) + time.Minute // of a store whose clock is another
	return []string{strconv.FormatInt(q.amount, 10), strconv.FormatInt(want, 10), strconv.FormatInt(left.Milliseconds(), 10)}
}

func (q *quota) at(now time.Time) *span {
	w := q.current.Load()
	if w == nil || !now.Before(w.end) { // a clock that goes back does not bring an old window back
		w = q.span(now)
		q.current.Store(w)
	}
	return w
}

// span has the day or month that now is in. Days of a zone may last 23 or 25
// hours: the calendar knows.
func (q *quota) span(now time.Time) *span {
	y, m, d := now.In(q.zone).Date()
	w := &span{}
	if q.per == perMonth {
		w.start, w.end = time.Date(y, m, 1, 0, 0, 0, 0, q.zone), time.Date(y, m+1, 1, 0, 0, 0, 0, q.zone)
		w.floor = (int64(y)*12 + int64(m)) << windowBits
		return w
	}
	w.start, w.end = time.Date(y, m, d, 0, 0, 0, 0, q.zone), time.Date(y, m, d+1, 0, 0, 0, 0, q.zone)
	w.floor = (int64(y)*366 + int64(w.start.YearDay())) << windowBits
	return w
}
