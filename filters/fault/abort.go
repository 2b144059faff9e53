package fault

import (
	"errors"
	"strconv"

	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/stream"
)

// The kinds of faults: the names of the settings, and the label of the metrics.
const (
	byDelay     = "delay"
	byStatus    = "status"
	byGRPC      = "grpc"
	byReset     = "reset"
	byHalfClose = "half_close"
	byTruncate  = "truncate"
	bySlow      = "slow"
)

var (
	errStatus    = errors.New("answered by the filter fault with a status")
	errHangup    = errors.New("hung up on by the filter fault")
	errTruncated = errors.New("truncated by the filter fault")
)

// aborter is Abort, compiled.
type aborter struct {
	kind     string
	share    float64
	status   int
	code     uint8 // of gRPC
	hangup   stream.Hangup
	truncate int64
	rate     int64 // bytes per second
}

func newAborter(a *Abort) *aborter {
	own := &aborter{kind: a.kind(nil), share: a.Share, status: a.Status}
	own.code, _ = grpcstatus.Parse(grpcstatus.Prefix + a.GRPC)
	switch own.kind {
	case byReset:
		own.hangup = stream.Reset
	case byHalfClose:
		own.hangup = stream.HalfClose
	case byTruncate:
		own.truncate = int64(*a.Truncate)
	case bySlow:
		own.rate = int64(a.Slow.BytesPerSecond)
	}
	return own
}

// early: the service does not get the request.
func (a *aborter) early() bool { return a.kind != byTruncate && a.kind != bySlow }

// applies tells whether such a fault can happen to the request.
func (a *aborter) applies(req *stream.Request) bool {
	bytes := req.Proto == stream.TCP || req.Proto == stream.UDP
	switch a.kind {
	case byStatus:
		return !bytes
	case byGRPC:
		return req.GRPC != stream.NotGRPC
	case byTruncate, bySlow:
		return !bytes && req.Proto != stream.Framed && req.Upgrade == "" && req.Method != "CONNECT" && req.Method != "HEAD"
	}
	return true
}

// answer is what the client gets instead of the response of the service.
func (a *aborter) answer(req *stream.Request) (*stream.Response, error) {
	switch a.kind {
	case byStatus:
		return a.respond(req), nil
	case byGRPC:
		return a.respondGRPC(req), nil
	}
	return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: a.hangup, Cause: errHangup}
}

// injected says to clients and other proxies what this is (RFC 9209), as the
// answer stage would.
const injected = `weir; error=proxy_internal_response; details="fault_injected"`

// What stands in a response of the service that a fault has held up.
const (
	noteDelay = `weir; details="fault_injected: delay"`
	noteSlow  = `weir; details="fault_injected: slow"`
)

func (a *aborter) respond(req *stream.Request) *stream.Response {
	text := []byte(strconv.Itoa(a.status) + "\nThe failure is made on purpose, as a test.\nRequest id: " + req.ID + "\n")
	resp := &stream.Response{Status: a.status, Body: stream.NoBody, Length: int64(len(text))}
	if req.Method != "HEAD" {
		resp.Body = stream.BytesBody(text)
	}
	resp.Header.Grow(3)
	resp.Header.AddID(stream.ContentType, "text/plain; charset=utf-8")
	resp.Header.AddID(stream.CacheControl, "no-store")
	resp.Header.AddID(stream.ProxyStatus, injected)
	req.Exchange.Fault = &stream.Fault{Kind: stream.FaultInjected, Cause: errStatus}
	return resp
}

var grpcTypes = [...]string{
	stream.GRPCCall:    "application/grpc",
	stream.GRPCWeb:     "application/grpc-web",
	stream.GRPCWebText: "application/grpc-web-text",
}

// respondGRPC has the status in the header and no content ("Trailers-Only").
func (a *aborter) respondGRPC(req *stream.Request) *stream.Response {
	resp := &stream.Response{Status: 200, Body: stream.NoBody}
	resp.Header.Grow(4)
	resp.Header.AddID(stream.ContentType, grpcTypes[req.GRPC])
	resp.Header.Append(stream.Field{Name: "grpc-status", Value: grpcstatus.Decimal(a.code)})
	resp.Header.Append(stream.Field{Name: "grpc-message", Value: "The failure is made on purpose, as a test."})
	resp.Header.AddID(stream.ProxyStatus, injected)
	req.Exchange.Fault = &stream.Fault{Kind: stream.FaultInjected, Cause: errStatus}
	return resp
}
