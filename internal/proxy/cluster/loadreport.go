package cluster

import (
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/loadreport"
	"github.com/weirproxy/weir/stream"
)

// takeReport takes what an endpoint says of its load out of its response: it is
// for whoever balances, and clients need not know how busy a service is.
func (c *Cluster) takeReport(ep *endpoint.Endpoint, resp *stream.Response) {
	if !c.reports {
		return
	}
	value, ok := resp.Header.Get(loadreport.Header)
	if !ok {
		return
	}
	resp.Header.Del(loadreport.Header)
	now := time.Now()
	if !ep.WantsReport(now) {
		return
	}
	report, err := loadreport.Parse(value)
	if err != nil {
		c.Stats.ReportsBad.Add(1)
		return
	}
	if w := report.Weight(); w > 0 {
		ep.Reported(w, now)
	}
}
