package cluster

import (
	"strconv"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// deadlinePolicy is config.Deadline for the request path. Without a header
// there is none.
type deadlinePolicy struct {
	header string
	least  time.Duration
	limit  string // the name of the limit when the client's deadline fires
}

func compileDeadline(d *config.Deadline) deadlinePolicy {
	if d == nil {
		return deadlinePolicy{}
	}
	return deadlinePolicy{header: d.Header, least: time.Duration(d.Least), limit: "deadline"}
}

// maxDeadlineDigits bounds the number: more than ten years of milliseconds say
// nothing.
const maxDeadlineDigits = 12

// clientEnd is when the client gives a request up that says so: its time counts
// from the first byte of the request. The zero time: it does not say. A request
// that has less left than an endpoint needs is refused: nobody would wait for
// its response.
func (s *service) clientEnd(req *stream.Request, now time.Time) (time.Time, *stream.Fault) {
	if s.deadline.header == "" || req.GRPC != stream.NotGRPC {
		return time.Time{}, nil
	}
	value, ok := req.Header.Get(s.deadline.header)
	if !ok {
		return time.Time{}, nil
	}
	left, ok := parseDeadline(value)
	if !ok || req.Header.Count(s.deadline.header) > 1 {
		return time.Time{}, stream.Faultf(stream.RequestMalformed, stream.RetryNever, "%s is not one whole number of milliseconds", s.deadline.header)
	}
	start := req.Exchange.Start
	if start.IsZero() {
		start = now
	}
	end := start.Add(left)
	if end.Before(now.Add(max(s.deadline.least, 1))) {
		s.cluster.Stats.Expired.Add(1)
		return time.Time{}, &stream.Fault{Kind: stream.RequestTimeout, Limit: s.deadline.limit}
	}
	return end, nil
}

func parseDeadline(value string) (time.Duration, bool) {
	if len(value) > maxDeadlineDigits {
		return 0, false
	}
	ms, err := strconv.ParseUint(value, 10, 63)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// tellDeadline tells the endpoint what is left until end, rounded down: it must
// never believe in more time than there is.
func (s *service) tellDeadline(req *stream.Request, end, now time.Time) {
	if s.deadline.header == "" || req.GRPC != stream.NotGRPC || end.IsZero() {
		return
	}
	left := max(end.Sub(now), 0) / time.Millisecond
	req.Header.Set(s.deadline.header, strconv.FormatInt(int64(left), 10))
}
