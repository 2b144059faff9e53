package cluster

import (
	"io"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/loadreport"
	"github.com/weirproxy/weir/stream"
)

// takeReport takes what an endpoint says of its load out of its response: it is
// for whoever balances, and clients need not know how busy a service is. Services
// of gRPC say it behind their messages, in the trailer.
func (c *Cluster) takeReport(ep *endpoint.Endpoint, req *stream.Request, resp *stream.Response) {
	if !c.reports {
		return
	}
	c.takeFields(ep, &resp.Header)
	if req.GRPC != stream.NotGRPC && resp.Body != stream.NoBody {
		resp.Body = &reportingBody{passing: passing{resp.Body}, cluster: c, endpoint: ep} // allocates, where asked for only
	}
}

// reportingBody is the content of a response to a gRPC call.
type reportingBody struct {
	passing
	cluster  *Cluster
	endpoint *endpoint.Endpoint
	taken    bool
}

// Read implements stream.Body.
func (b *reportingBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF && !b.taken {
		b.taken = true
		if trailer := b.Trailer(); trailer != nil {
			b.cluster.takeFields(b.endpoint, trailer)
		}
	}
	return n, err
}

// takeFields takes reports out of a header or a trailer, the binary one first: it
// is what gRPC sends.
func (c *Cluster) takeFields(ep *endpoint.Endpoint, h *stream.Header) {
	if value, ok := h.Get(loadreport.BinaryHeader); ok {
		h.Del(loadreport.BinaryHeader)
		c.believe(ep, value, loadreport.ParseBinary)
	}
	if value, ok := h.Get(loadreport.Header); ok {
		h.Del(loadreport.Header)
		c.believe(ep, value, loadreport.Parse)
	}
}

// believe reads a report, unless the last one has only just come.
func (c *Cluster) believe(ep *endpoint.Endpoint, value string, parse func(string) (loadreport.Report, error)) {
	now := time.Now()
	if !ep.WantsReport(now) {
		return
	}
	report, err := parse(value)
	if err != nil {
		c.Stats.ReportsBad.Add(1)
		return
	}
	if w := report.Weight(); w > 0 {
		ep.Reported(w, now)
	}
}
