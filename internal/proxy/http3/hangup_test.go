package http3

import (
	"context"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// Who is hung up on gets its stream reset, and the connection goes on, however
// often that happens: the client has done nothing.
func TestHangUp(t *testing.T) {
	ts := serve(t, func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		switch req.Target.Path {
		case "/reset":
			return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: stream.Reset}
		case "/half":
			return nil, &stream.Fault{Kind: stream.FaultInjected, Hangup: stream.HalfClose}
		}
		return text(200, "ok"), nil
	}, nil)
	c := dial(t, ts.addr, ts.client, nil)
	for range 200 {
		for _, path := range []string{"/reset", "/half"} {
			if resp, err := ask(t, c, request("GET", path)); err == nil {
				t.Fatalf("%s: answered with %d", path, resp.Status)
			}
		}
	}
	resp, err := ask(t, c, request("GET", "/ok"))
	if err != nil || resp.Status != 200 {
		t.Fatalf("the next stream: %v, %v", resp, err)
	}
	resp.Body.Close()
	for _, x := range ts.exchanges()[:400] {
		if x.Fault == nil || x.Fault.Kind != stream.FaultInjected || x.Status != 0 {
			t.Fatalf("exchange %+v", x)
		}
	}
}
