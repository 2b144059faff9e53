package cluster

import (
	"context"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

const (
	grpcTimeout = "grpc-timeout"
	// maxTimeoutDigits is the length of its number (gRPC over HTTP/2, "Requests").
	maxTimeoutDigits = 8
)

// grpcUnits are the units of grpc-timeout, from the finest on.
var grpcUnits = [...]struct {
	letter byte
	length time.Duration
}{
	{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond}, {'S', time.Second}, {'M', time.Minute}, {'H', time.Hour},
}

// parseTimeout reads a grpc-timeout: up to eight digits and a unit. What is
// longer than a Duration can say is the longest Duration.
func parseTimeout(value string) (time.Duration, bool) {
	digits := len(value) - 1
	if digits < 1 || digits > maxTimeoutDigits {
		return 0, false
	}
	n := time.Duration(0)
	for i := range digits {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(value[i]-'0')
	}
	for _, unit := range grpcUnits {
		if unit.letter == value[digits] {
			if n > math.MaxInt64/unit.length {
				return math.MaxInt64, true
			}
			return n * unit.length, true
		}
	}
	return 0, false
}

// formatTimeout writes a grpc-timeout in the finest unit that has room,
// rounded down: an upstream never believes in more time than there is.
func formatTimeout(d time.Duration) string {
	const limit = 100_000_000 // the first number with more than eight digits
	unit := grpcUnits[0]
	for _, unit = range grpcUnits {
		if d/unit.length < limit {
			break
		}
	}
	var text [maxTimeoutDigits + 1]byte
	return string(append(strconv.AppendInt(text[:0], int64(d/unit.length), 10), unit.letter))
}

// callEnd is when a gRPC call ends that says so: the client's time counts from
// the first byte of its request. The zero time: it does not say. A call whose
// time is up is refused.
func (c *Cluster) callEnd(req *stream.Request, now time.Time) (time.Time, *stream.Fault) {
	if req.GRPC == stream.NotGRPC {
		return time.Time{}, nil
	}
	value, ok := req.Header.Get(grpcTimeout)
	if !ok {
		return time.Time{}, nil
	}
	timeout, ok := parseTimeout(value)
	if !ok || req.Header.Count(grpcTimeout) > 1 {
		return time.Time{}, stream.Faultf(stream.RequestMalformed, stream.RetryNever, "grpc-timeout is not up to eight digits and one of H, M, S, m, u, n")
	}
	start := req.Exchange.Start
	if start.IsZero() {
		start = now
	}
	end := start.Add(timeout)
	if !now.Before(end) {
		c.Stats.Expired.Add(1)
		return time.Time{}, &stream.Fault{Kind: stream.RequestTimeout, Limit: grpcTimeout}
	}
	return end, nil
}

// bounded is the part of an exchange that a call with a deadline has more than
// others: a context that ends with it, because the deadline is that of the
// content, too.
type bounded struct {
	outer  context.Context // of the client
	end    time.Time
	cancel context.CancelFunc
}

// bound makes ctx the context of the exchange until end.
func (x *exchange) bound(end time.Time) {
	x.call = &bounded{outer: x.ctx, end: end}
	x.ctx, x.call.cancel = context.WithDeadline(x.ctx, end)
	if x.end.IsZero() || end.Before(x.end) {
		x.end = end
	}
}

// ended tells whether it is the deadline that ended ctx, and not the client.
func (b *bounded) ended(ctx context.Context) bool {
	return b != nil && ctx.Err() != nil && b.outer.Err() == nil
}

// over tells whether the time that the client gave is up.
func (b *bounded) over(now time.Time) bool { return b != nil && !now.Before(b.end) }

// release gives the context up.
func (b *bounded) release() {
	if b != nil {
		b.cancel()
	}
}

// setTimeout tells the upstream what is left of the time of a call.
func (x *exchange) setTimeout(now time.Time) {
	if x.call != nil {
		x.req.Header.Set(grpcTimeout, formatTimeout(max(x.call.end.Sub(now), 0)))
	}
}

// hand gives the response of a call with a deadline a body that ends with it.
func (x *exchange) hand(resp *stream.Response) {
	if x.call != nil {
		resp.Body = &boundedBody{passing: passing{resp.Body}, ctx: x.ctx, call: x.call}
	}
}

// boundedBody is the content of a response to a call with a deadline.
type boundedBody struct {
	passing
	ctx  context.Context
	call *bounded
}

// Read implements stream.Body.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF {
		err = b.judge(err)
	}
	return n, err
}

// judge says that it was the deadline, if it was.
func (b *boundedBody) judge(err error) error {
	if b.call.ended(b.ctx) {
		return &stream.Fault{Kind: stream.RequestTimeout, Limit: grpcTimeout, Cause: err}
	}
	return err
}

// Close implements stream.Body.
func (b *boundedBody) Close() error {
	err := b.Body.Close()
	b.call.release()
	return err
}

// Prefetch implements stream.Prefetcher.
func (b *boundedBody) Prefetch(limit int) error {
	if err := b.passing.Prefetch(limit); err != nil {
		return b.judge(err)
	}
	return nil
}

// Await implements stream.Awaiter.
func (b *boundedBody) Await() error {
	if err := b.passing.Await(); err != nil {
		return b.judge(err)
	}
	return nil
}

// early is the status of a gRPC call that ended before any message came: it
// stands in the header of the response ("Trailers-Only"). A status behind
// messages, or behind a header of its own, comes too late for another attempt
// and is not looked at here.
func early(req *stream.Request, resp *stream.Response) (code uint8, ok bool) {
	if req.GRPC == stream.NotGRPC || resp.Status != 200 {
		return 0, false
	}
	return stream.GRPCStatus(&resp.Header)
}

// blamesGRPC tells whether a status of gRPC speaks against the endpoint: as
// HTTP, UNAVAILABLE is 503 and DEADLINE_EXCEEDED is 504. (INTERNAL and UNKNOWN
// would be 500, the application's own failure; RESOURCE_EXHAUSTED 429.)
func blamesGRPC(code uint8) bool {
	return code == grpcstatus.Unavailable || code == grpcstatus.DeadlineExceeded
}
