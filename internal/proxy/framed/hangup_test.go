package framed

import (
	"context"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// Who is hung up on hears nothing, also where there is an error frame.
func TestServerHangUp(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: stream.Reset}
	}), func(c *ServerConfig) { c.Framed.Error = "ERR {reason}" })
	e.send("a\n")
	if rest := e.rest(); rest != "" {
		t.Errorf("it hears %q", rest)
	}
	if xs := e.exchanges(); len(xs) != 1 || xs[0].Fault == nil || xs[0].Fault.Kind != stream.FaultInjected || xs[0].Status != 0 {
		t.Errorf("exchanges %+v", xs)
	}
}
