package record

import (
	"sync"

	"github.com/weirproxy/weir/internal/histogram"
	"github.com/weirproxy/weir/stream"
)

// classes are the values of the code label; none is "nothing was sent".
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func classOf(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

// routeBlock is what one shard has counted for one route.
type routeBlock struct {
	codes    [len(classes)]uint64
	bytesIn  uint64
	bytesOut uint64
	total    histogram.Durations
	proxy    histogram.Durations
}

func (b *routeBlock) add(other *routeBlock) {
	for i, n := range other.codes {
		b.codes[i] += n
	}
	b.bytesIn += other.bytesIn
	b.bytesOut += other.bytesOut
	b.total.Add(&other.total)
	b.proxy.Add(&other.proxy)
}

// clusterBlock is what one shard has counted for one cluster.
type clusterBlock struct {
	codes    [len(classes)]uint64 // of upstream responses
	attempts uint64
	retries  uint64
	upstream histogram.Durations
}

func (b *clusterBlock) add(other *clusterBlock) {
	for i, n := range other.codes {
		b.codes[i] += n
	}
	b.attempts += other.attempts
	b.retries += other.retries
	b.upstream.Add(&other.upstream)
}

// maxRefusals bounds the reasons for refused retries, which are words of the
// cluster stage; more than that count as "other".
const maxRefusals = 16

// shard is what the exchanges of some connections have counted, and the lines
// they have written. Blocks are made when a handle first carries traffic; the
// block of a folded handle is that of other.
type shard struct {
	mu       sync.Mutex
	routes   []*routeBlock   // by handle
	clusters []*clusterBlock // by handle
	faults   [stream.NumKinds]uint64
	refusals [maxRefusals]refusal
	calls    calls

	log   *accessLog // the form that the lines in lines have
	lines []byte     // not handed to log.out yet
	count int        // of lines

	_ [64]byte // shards are allocated one by one; keep neighbours off the line
}

type refusal struct {
	reason string
	count  uint64
}

// route is the block of a handle. mu is held.
func (s *shard) route(handle uint32, n *names) *routeBlock {
	if int(handle) < len(s.routes) {
		if b := s.routes[handle]; b != nil {
			return b
		}
	}
	b, routes := block(s.routes, handle, n)
	s.routes = routes
	return b
}

// cluster is the block of a handle. mu is held.
func (s *shard) cluster(handle uint32, n *names) *clusterBlock {
	if int(handle) < len(s.clusters) {
		if b := s.clusters[handle]; b != nil {
			return b
		}
	}
	b, clusters := block(s.clusters, handle, n)
	s.clusters = clusters
	return b
}

// block makes the block of a handle that this shard has not counted yet.
func block[B any](blocks []*B, handle uint32, n *names) (*B, []*B) {
	counts, known := n.admit(handle)
	for len(blocks) <= int(counts) {
		blocks = append(blocks, nil)
	}
	if blocks[counts] == nil {
		blocks[counts] = new(B)
	}
	b := blocks[counts]
	if known && counts != handle {
		for len(blocks) <= int(handle) {
			blocks = append(blocks, nil)
		}
		blocks[handle] = b
	}
	return b, blocks
}

// countsAs is the handle under which a handle counts whose block is b; nil: none.
func countsAs[B any](blocks []*B, b *B, handle uint32) uint32 {
	switch {
	case b == nil:
		return none
	case len(blocks) > int(other) && blocks[other] == b:
		return other
	}
	return handle
}

func (s *shard) refused(reason string) {
	for i := range s.refusals {
		r := &s.refusals[i]
		if r.reason == "" {
			r.reason = reason
			if i == maxRefusals-1 {
				r.reason = otherName
			}
		}
		if r.reason == reason || i == maxRefusals-1 {
			r.count++
			return
		}
	}
}

// foldRoute moves what was counted for handle to other. mu is held.
func (s *shard) foldRoute(handle uint32, n *names) {
	if int(handle) >= len(s.routes) || s.routes[handle] == nil {
		return
	}
	sum := s.route(other, n)
	sum.add(s.routes[handle])
	s.routes[handle] = sum
}

// foldCluster moves what was counted for handle to other. mu is held.
func (s *shard) foldCluster(handle uint32, n *names) {
	if int(handle) >= len(s.clusters) || s.clusters[handle] == nil {
		return
	}
	sum := s.cluster(other, n)
	sum.add(s.clusters[handle])
	s.clusters[handle] = sum
}
