package cluster

import (
	"strconv"
	"time"

	"github.com/weirproxy/weir/stream"
)

// The proxies on the way of a request must not each retry what one of them has
// retried: with three of them and three attempts each, an upstream that fails
// would get 27 times its load at the worst of times. So
//
//   - a request that is another attempt says so (attemptHeader), and who gets
//     one passes its failure on;
//   - a response that was to be retried and is not, because that was done or
//     must not be, says so (stream.RetryHeader), and who gets one passes it on.
//
// The proxy next to the failure is thereby the one that retries, within its
// budget. Both can only make fewer attempts, so both are believed whoever sends
// them; an upstream may use the second by itself to say that it has had enough.
const attemptHeader = "Weir-Attempt"

// anothersTurn tells whether another hop retries this request, or has done so.
func (x *exchange) anothersTurn(resp *stream.Response) bool {
	if x.req.Exchange.Attempts == 1 {
		if _, again := x.req.Header.Get(attemptHeader); again {
			return true
		}
	}
	if resp == nil {
		return false
	}
	_, spent := resp.Header.Get(stream.RetryHeader)
	return spent
}

// numberAttempt tells the next hop that this is not the first attempt.
func (x *exchange) numberAttempt() {
	if n := x.req.Exchange.Attempts; n > 1 {
		x.req.Header.Set(attemptHeader, strconv.Itoa(n))
	}
}

// markSpent tells the hop before that what failed here was retried, or must not
// be. A fault has no response yet: the answer stage marks it.
func (x *exchange) markSpent(resp *stream.Response) {
	if resp == nil || x.req.Exchange.RetryRefused == "" {
		return
	}
	if _, ok := resp.Header.Get(stream.RetryHeader); !ok {
		resp.Header.Add(stream.RetryHeader, stream.RetrySpent)
	}
}

// httpDate is the form that dates are written in (RFC 9110 section 5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// retryAfter is how long a response asks to wait (RFC 9110 section 10.2.3).
func retryAfter(resp *stream.Response, now time.Time) (time.Duration, bool) {
	if resp == nil || resp.Status != 429 && resp.Status != 503 {
		return 0, false
	}
	value, ok := resp.Header.GetID(stream.RetryAfter)
	if !ok {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := time.Parse(httpDate, value)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(now), 0), true
}
