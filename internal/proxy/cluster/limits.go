package cluster

import "github.com/weirproxy/weir/stream"

// full refuses a request for which there is no place.
func (c *Cluster) full(req *stream.Request) error {
	c.Stats.Full.Add(1)
	_ = req.Body.Close()
	return &stream.Fault{Kind: stream.ClusterFull, Limit: "max_requests"}
}
