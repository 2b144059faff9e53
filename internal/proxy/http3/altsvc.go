package http3

import (
	"context"
	"fmt"
	"time"

	"github.com/weirproxy/weir/stream"
)

// AltSvc is the value of the Alt-Svc field (RFC 7838 section 3) that says that
// HTTP/3 is served on that UDP port of the same host.
func AltSvc(port int, maxAge time.Duration) string {
	return fmt.Sprintf(`h3=":%d"; ma=%d`, port, int64(maxAge/time.Second))
}

// Advertiser tells clients of HTTP/1.1 and HTTP/2 on TLS of HTTP/3. What an
// upstream says of itself stays.
type Advertiser struct {
	Next  stream.Service
	Value string // of AltSvc
}

// Serve adds Alt-Svc to the response of Next.
func (a *Advertiser) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	resp, err := a.Next.Serve(ctx, req)
	if err != nil || req.Conn.TLS == nil || req.Proto != stream.HTTP11 && req.Proto != stream.HTTP2 {
		return resp, err
	}
	if _, ok := resp.Header.GetID(stream.AltSvc); !ok {
		resp.Header.AddID(stream.AltSvc, a.Value)
	}
	return resp, nil
}
