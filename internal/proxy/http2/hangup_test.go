package http2

import (
	"context"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// Who is hung up on gets its stream reset, and the connection goes on.
func TestHangUp(t *testing.T) {
	for hangup, want := range map[stream.Hangup]xhttp2.ErrCode{
		stream.Reset: xhttp2.ErrCodeInternal, stream.HalfClose: xhttp2.ErrCodeCancel,
	} {
		e := newEdge(t, serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			if req.Header.Count("x-ok") > 0 {
				return textResponse(200, "ok"), nil
			}
			return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: hangup}
		}))
		c := e.dial()
		c.headers(1, true, getHead...)
		if a := c.response(1); a.status != "" || !a.wasCut || a.reset != want {
			t.Errorf("%d: %+v, want %v", hangup, a, want)
		}
		if x := e.exchange(0); x.Fault == nil || x.Fault.Kind != stream.FaultInjected || x.Status != 0 {
			t.Errorf("%d: exchange %+v", hangup, x)
		}
		c.headers(3, true, head(getHead, "x-ok", "1")...)
		if a := c.response(3); a.status != "200" || a.body != "ok" {
			t.Errorf("%d: the next stream: %+v", hangup, a)
		}
	}
}
