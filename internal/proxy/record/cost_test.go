package record

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

func TestAllocsDone(t *testing.T) {
	for name, cfg := range costs() {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t, cfg)
			req := exchange(r)
			for range 4000 { // blocks, buffers and scratch exist after that
				r.Done(req)
			}
			if n := testing.AllocsPerRun(2000, func() { r.Done(req) }); n != 0 {
				t.Errorf("Done allocates %v times, want 0", n)
			}
		})
	}
}

func BenchmarkDone(b *testing.B) {
	for name, cfg := range costs() {
		b.Run(name, func(b *testing.B) {
			r := newRecorder(b, cfg)
			req := usual(r)
			b.ReportAllocs()
			for b.Loop() {
				r.Done(req)
			}
		})
	}
}

// BenchmarkDoneParallel is many connections at once.
func BenchmarkDoneParallel(b *testing.B) {
	r := newRecorder(b, toStdout(io.Discard))
	var conns atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := usual(r)
		req.Conn = &stream.Conn{ID: conns.Add(1)}
		for pb.Next() {
			r.Done(req)
		}
	})
}

// usual is an exchange like most: in the clear, one attempt, and with times of
// the monotonic clock.
func usual(r *Recorder) *stream.Request {
	req := exchange(r)
	req.Conn = &stream.Conn{ID: 7, Listener: "public", Remote: req.Conn.Remote}
	x, base := &req.Exchange, time.Now()
	for _, at := range []*time.Time{&x.Start, &x.HeadRead, &x.UpstreamStart, &x.UpstreamHead, &x.HeadSent, &x.UpstreamEnd, &x.End} {
		*at = base.Add(at.Sub(start))
	}
	x.Attempts, x.RetryRefused = 1, ""
	return req
}

func costs() map[string]Config {
	metrics := toStdout(io.Discard)
	metrics.AccessLog.To = "off"
	json := toStdout(io.Discard)
	json.AccessLog.Headers = []string{"X-Tenant"}
	text := toStdout(io.Discard)
	text.AccessLog.Format = "text"
	return map[string]Config{"metrics": metrics, "json": json, "text": text}
}

func TestAllocsDoneGRPC(t *testing.T) {
	for name, cfg := range costs() {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t, cfg)
			known, unknown := grpcCall(r, "shop.Orders", 0), grpcCall(r, "no.Such", 12)
			for range 4000 {
				r.Done(known)
				r.Done(unknown)
			}
			for _, req := range []*stream.Request{known, unknown} {
				if n := testing.AllocsPerRun(2000, func() { r.Done(req) }); n != 0 {
					t.Errorf("%s: Done allocates %v times, want 0", req.Target.Path, n)
				}
			}
		})
	}
}

func BenchmarkDoneGRPC(b *testing.B) {
	for name, cfg := range costs() {
		b.Run(name, func(b *testing.B) {
			r := newRecorder(b, cfg)
			req := usual(r)
			req.GRPC, req.Target.Path, req.Exchange.GRPCStatus = stream.GRPCCall, "/shop.Orders/Get", 1
			b.ReportAllocs()
			for b.Loop() {
				r.Done(req)
			}
		})
	}
}
