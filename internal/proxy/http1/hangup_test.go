package http1

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// Who is hung up on hears nothing: a reset, or an orderly end while what it
// sends is still read. Either way the request body is closed and the exchange
// says why.
func TestHangUp(t *testing.T) {
	for hangup, want := range map[stream.Hangup]error{stream.Reset: syscall.ECONNRESET, stream.HalfClose: io.EOF} {
		e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: hangup}
		}))
		p := e.dial()
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
		if n, err := p.r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
			t.Errorf("%d: %d bytes, %v, want %v", hangup, n, err, want)
		}
		if hangup == stream.HalfClose {
			p.send("cde")
		}
		p.nc.Close()
		if x := e.exchange(0); x.Fault == nil || x.Fault.Kind != stream.FaultInjected || x.Status != 0 || x.BytesOut != 0 {
			t.Errorf("%d: exchange %+v", hangup, x)
		}
		if n := e.Stats.Cut.Load(); n != 1 {
			t.Errorf("%d: %d cut", hangup, n)
		}
	}
}
