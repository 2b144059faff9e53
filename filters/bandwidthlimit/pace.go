package bandwidthlimit

import (
	"context"
	"math"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/gcra"
	"github.com/weirproxy/weir/stream"
)

// pace is the speed of one direction.
type pace struct {
	table  *gcra.Table // levels are nanoseconds since begun
	begun  time.Time
	speed  int64 // bytes per second
	burst  int64 // nanoseconds that a level may be ahead without a wait
	chunk  int   // bytes of one Read, so that a key shares among its requests
	shadow bool
	bytes  *filter.Counter
	late   *filter.Counter
	waited *filter.Counter
}

// The bounds of a chunk. The smallest is still worth a write, the largest is
// what codecs read at once.
const (
	smallest  = 512
	largest   = 64 << 10
	perSecond = 16 // chunks, where the bounds allow
)

func newPace(s *Settings, speed Speed, table *gcra.Table, begun time.Time, env filter.Env, direction string) *pace {
	if speed == 0 {
		return nil
	}
	p := &pace{table: table, begun: begun, speed: int64(speed), shadow: s.Mode == "shadow"}
	p.burst = int64(time.Second)
	if s.Burst > 0 {
		p.burst = p.cost(int64(s.Burst))
	}
	p.chunk = int(min(max(p.speed/perSecond, smallest), largest))
	p.bytes = env.Counter("weir_bandwidth_limit_bytes_total", "Bytes of content that were paced.", "direction", direction)
	p.late = env.Counter("weir_bandwidth_limit_late_total", "Parts of content that had to wait, or would have had to in shadow mode.", "direction", direction)
	p.waited = env.Counter("weir_bandwidth_limit_wait_milliseconds_total", "How long they waited, or would have.", "direction", direction)
	return p
}

// cost is the time that n bytes take, in nanoseconds.
func (p *pace) cost(n int64) int64 {
	if n > math.MaxInt64/int64(time.Second) { // beyond nine gigabytes at once
		return n / p.speed * int64(time.Second)
	}
	return n * int64(time.Second) / p.speed
}

// charge takes n bytes from what the key has, and tells how long it has to wait
// for them.
func (p *pace) charge(key uint64, n int) time.Duration {
	now := int64(time.Since(p.begun))
	level, _ := p.table.Take(key, now, math.MaxInt64, p.cost(int64(n)))
	p.bytes.Add(int64(n))
	wait := level - now - p.burst
	if wait <= 0 {
		return 0
	}
	p.late.Add(1)
	p.waited.Add(wait / int64(time.Millisecond))
	if p.shadow {
		return 0
	}
	return time.Duration(wait)
}

// fits tells whether n bytes need not wait.
func (p *pace) fits(key uint64, n int) bool {
	now := int64(time.Since(p.begun))
	return p.table.Level(key, now)+p.cost(int64(n)) <= now+p.burst
}

// body paces a body. One that is in memory and need not wait stays as it is.
func (p *pace) body(ctx context.Context, key uint64, b stream.Body) stream.Body {
	if whole, ok := b.(stream.Whole); ok {
		if content, ok := whole.Bytes(); ok && p.fits(key, len(content)) {
			p.charge(key, len(content))
			return b
		}
	}
	return &paced{Body: b, way: newWay(ctx, p, key, make(chan struct{}))}
}
