package record

import (
	"errors"
	"io"
	"log/slog"
	"math/bits"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/redact"
	"github.com/weirproxy/weir/stream"
)

// Config is what a recorder is made of. The first three parts are those of the
// document, with defaults filled in.
type Config struct {
	AccessLog config.AccessLog
	Metrics   config.Metrics
	Redact    config.Redact

	// Stdout and Stderr are where access_log.to may point; nil: those of the
	// process. Log is told of trouble with the access log; nil: slog.Default.
	// Shards is for tests; 0: by the number of processors. Apply ignores these.
	Stdout, Stderr io.Writer
	Log            *slog.Logger
	Shards         int
}

// Recorder is the one recorder of a process.
type Recorder struct {
	shards   []*shard // a power of two
	routes   *names
	clusters *names
	services *services
	log      atomic.Pointer[accessLog]
	logger   *slog.Logger
	lines    lineStats

	scratches sync.Pool // of *scratch

	stdout, stderr io.Writer

	apply   sync.Mutex // Apply, Reopen, Flush, Close
	closed  bool
	leaving []*output // replaced, still writing what they have; under apply

	scrape struct {
		sync.Mutex
		maxSeries int                        // per family of a source
		seats     map[string]map[string]bool // admitted series of sources, by family
	}
	sources struct {
		sync.Mutex
		list []Source
	}
	handler func() http.Handler
}

// maxShards bounds memory; lock contention on so many is noise.
const maxShards = 64

// New makes a recorder. It opens the access log.
func New(cfg Config) (*Recorder, error) {
	r := &Recorder{
		routes:   newNames(cfg.Metrics.MaxSeries),
		clusters: newNames(cfg.Metrics.MaxSeries),
		services: newServices(cfg.Metrics.MaxSeries),
		logger:   cfg.Log,
		stdout:   cfg.Stdout,
		stderr:   cfg.Stderr,
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	if r.stdout == nil {
		r.stdout = os.Stdout
	}
	if r.stderr == nil {
		r.stderr = os.Stderr
	}
	r.scrape.maxSeries = cfg.Metrics.MaxSeries
	count := cfg.Shards
	if count == 0 {
		count = 2 * runtime.GOMAXPROCS(0)
	}
	count = 1 << bits.Len(uint(min(count, maxShards)-1)) // the next power of two
	log, err := r.newLog(cfg, nil)
	if err != nil {
		return nil, err
	}
	r.log.Store(log)
	for range count {
		r.shards = append(r.shards, &shard{log: log})
	}
	if log.out != nil {
		go log.out.run(r.collect)
	}
	r.handler = sync.OnceValue(r.newHandler)
	return r, nil
}

// Apply takes over changed parts of the document. On an error, which is one of
// the access log, nothing has changed. No line and no count is lost.
func (r *Recorder) Apply(cfg Config) error {
	r.apply.Lock()
	defer r.apply.Unlock()
	if r.closed {
		return errors.New("record: the recorder is closed")
	}
	old := r.log.Load()
	log, err := r.newLog(cfg, old)
	if err != nil {
		return err
	}
	r.routes.setBudget(cfg.Metrics.MaxSeries)
	r.clusters.setBudget(cfg.Metrics.MaxSeries)
	r.services.setBudget(cfg.Metrics.MaxSeries)
	r.scrape.Lock()
	r.scrape.maxSeries = cfg.Metrics.MaxSeries
	r.scrape.Unlock()
	r.log.Store(log)
	r.change(log)
	if log.out != old.out {
		if log.out != nil {
			go log.out.run(r.collect)
		}
		if old.out != nil {
			r.leave(old.out)
		}
	}
	return nil
}

// change gives every shard the new form; lines of the old form go where they
// were meant to go.
func (r *Recorder) change(log *accessLog) {
	for _, s := range r.shards {
		s.mu.Lock()
		s.handOver()
		s.log = log
		s.mu.Unlock()
	}
}

// RouteLabel is the label of a route; the engine puts it into requests.
func (r *Recorder) RouteLabel(name string) stream.Label { return r.routes.label(name) }

// ClusterLabel is the label of a cluster.
func (r *Recorder) ClusterLabel(name string) stream.Label { return r.clusters.label(name) }

// Retain says which routes and clusters still exist. What the others have
// counted moves to "other", and their places in the budget are free. Labels of
// names that are not retained stay valid and count under "other".
func (r *Recorder) Retain(routes, clusters []string) {
	r.scrape.Lock() // no scrape sees a count twice or not at all
	defer r.scrape.Unlock()
	goneRoutes, goneClusters := r.routes.retain(routes), r.clusters.retain(clusters)
	goneCalls := r.services.retire(goneRoutes, goneClusters)
	for _, s := range r.shards {
		s.mu.Lock()
		for _, handle := range goneRoutes {
			s.foldRoute(handle, r.routes)
		}
		for _, handle := range goneClusters {
			s.foldCluster(handle, r.clusters)
		}
		s.foldCalls(goneCalls)
		s.mu.Unlock()
	}
	r.services.release(goneCalls)
}

// Policy is the redaction in force.
func (r *Recorder) Policy() *redact.Policy { return r.log.Load().policy }

// Handler serves /metrics, in the text, OpenMetrics and protobuf formats; the
// native histograms are in the last of them.
func (r *Recorder) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.handler().ServeHTTP(w, req) })
}

// Done counts one exchange and writes its line. The codec calls it once per
// exchange, after the last byte, when nobody writes to req any more. It does
// not keep req and never waits for a disk.
func (r *Recorder) Done(req *stream.Request) {
	t := timesOf(&req.Exchange)
	s := r.shards[req.Conn.ID&uint64(len(r.shards)-1)]
	log := r.log.Load()
	if !log.wants(&req.Exchange, t.total) {
		r.count(s, req, &t)
		return
	}
	sc := r.getScratch()
	log.encode(sc, req, &t)
	r.countAndWrite(s, log, sc, req, &t)
	r.putScratch(sc)
}

// Line writes the line of an exchange that no client began, and counts nothing.
// Otherwise it is as Done.
func (r *Recorder) Line(req *stream.Request) {
	t := timesOf(&req.Exchange)
	log := r.log.Load()
	if !log.wants(&req.Exchange, t.total) {
		return
	}
	sc := r.getScratch()
	defer r.putScratch(sc)
	log.encode(sc, req, &t)
	s := r.shards[req.Conn.ID&uint64(len(r.shards)-1)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(log, sc, req, &t)
}

func (r *Recorder) count(s *shard, req *stream.Request, t *times) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(r, req, t)
}

func (r *Recorder) countAndWrite(s *shard, log *accessLog, sc *scratch, req *stream.Request, t *times) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(r, req, t)
	s.line(log, sc, req, t)
}

// line writes what log has encoded. mu is held.
func (s *shard) line(log *accessLog, sc *scratch, req *stream.Request, t *times) {
	if s.log != log { // Apply came between: the line has the old form
		if s.log.out == nil {
			return
		}
		s.log.encode(sc, req, t)
	}
	s.write(sc.line)
}

// add counts an exchange. mu is held.
func (s *shard) add(r *Recorder, req *stream.Request, t *times) {
	x := &req.Exchange
	b := s.route(x.Route.Handle, r.routes)
	b.codes[classOf(x.Status)]++
	b.bytesIn += uint64(max(x.BytesIn, 0))
	b.bytesOut += uint64(max(x.BytesOut, 0))
	b.total.Observe(t.total)
	b.proxy.Observe(t.proxy)
	var c *clusterBlock
	if x.Attempts > 0 {
		c = s.cluster(x.Cluster.Handle, r.clusters)
		c.codes[classOf(x.UpstreamStatus)]++
		c.attempts += uint64(x.Attempts)
		c.retries += uint64(x.Attempts - 1)
		c.upstream.Observe(t.head)
	}
	if req.GRPC != stream.NotGRPC {
		s.call(r, req, countsAs(s.routes, b, x.Route.Handle), countsAs(s.clusters, c, x.Cluster.Handle))
	}
	if x.Fault != nil && x.Fault.Kind < stream.NumKinds {
		s.faults[x.Fault.Kind]++
	}
	if x.RetryRefused != "" {
		s.refused(x.RetryRefused)
	}
}

// times are the durations of an exchange.
type times struct {
	total    time.Duration // first byte of the request to last of the response
	proxy    time.Duration // inside Weir
	upstream time.Duration // first attempt to the end of its response body
	head     time.Duration // first attempt to the response head, or to its end
}

// timesOf tells the time inside Weir from that of the peers: what passes while
// a client sends its head or takes the body is not Weir's, nor is the wait for
// an upstream.
func timesOf(x *stream.Exchange) times {
	t := times{total: max(x.End.Sub(x.Start), 0)}
	sent := x.HeadSent
	if sent.IsZero() {
		sent = x.End
	}
	if x.UpstreamStart.IsZero() {
		t.proxy = between(x.HeadRead, sent)
		return t
	}
	end := x.UpstreamEnd
	if end.IsZero() {
		end = x.End
	}
	head := x.UpstreamHead
	if head.IsZero() {
		head = end
	}
	t.upstream = between(x.UpstreamStart, end)
	t.head = between(x.UpstreamStart, head)
	t.proxy = between(x.HeadRead, x.UpstreamStart) + between(head, sent)
	return t
}

// between is 0 when from is unknown.
func between(from, to time.Time) time.Duration {
	if from.IsZero() {
		return 0
	}
	return max(to.Sub(from), 0)
}
