package loadstream

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// path is the method (cncf/xds, xds/service/orca/v3/orca.proto).
const path = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"

// open asks for the stream. The head of the answer may come with the first report,
// so it has as long as that.
func (w *Watcher) open(ctx context.Context, e *endpoint.Endpoint) (*stream.Response, error) {
	content := request(w.cfg.Interval)
	req := &stream.Request{
		Proto: stream.HTTP2, Method: "POST", GRPC: stream.GRPCCall, Conn: &stream.Conn{},
		Target: stream.Target{Scheme: "http", Path: path},
		Body:   stream.BytesBody(content), Length: int64(len(content)), Deadline: time.Now().Add(w.cfg.Silence),
	}
	var err error
	if req.Target.Host, req.Target.Port, err = stream.ParseAuthority(e.Authority()); err != nil {
		req.Target.Host, req.Target.Port = "localhost", ""
	}
	req.Header.AddID(stream.ContentType, "application/grpc")
	req.Header.AddID(stream.UserAgent, "weir-load")
	return w.cfg.Call(ctx, e, req)
}
