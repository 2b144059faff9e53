package engine

import (
	"context"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/loadstream"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/stream"
)

// weighsLoad tells whether endpoints say how much they can take.
func (u *upstream) weighsLoad() bool { return u.spec.Spec.LoadReports || u.spec.Spec.LoadStream != nil }

// askLoad makes what asks the endpoints for streams of load reports, if the
// document wants them.
func (u *upstream) askLoad() {
	if s := u.spec.Spec.LoadStream; s != nil {
		u.loads = loadstream.New(loadstream.Config{
			Interval: time.Duration(s.Interval), Silence: time.Duration(s.Silence), Call: u.callApart,
			Log: u.engine.log.With("cluster", u.spec.Spec.Name),
		})
		u.background(u.loads.Run)
	}
}

// watchLoad begins to make weights of reports.
func (u *upstream) watchLoad() {
	if u.weighsLoad() {
		u.background(u.weigh)
	}
}

// callApart makes an exchange on a connection of its own: a stream that never ends
// would take a place on those of requests, and count as one of them.
func (u *upstream) callApart(ctx context.Context, ep *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
	limit := u.connectBy(req.Deadline)
	client, err := u.connectHTTP2(ctx, ep, limit, &u.codecs.loads, func() {})
	if err != nil {
		_ = req.Body.Close()
		return nil, err
	}
	if !client.Reserve() {
		_ = req.Body.Close()
		_ = client.Close()
		return nil, stream.Faultf(stream.ConnectFailed, stream.RetryUnsent, "the endpoint takes no request on a new connection of HTTP/2")
	}
	resp, err := client.Serve(ctx, req)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	resp.Body = &apart{resp.Body, client.Close}
	return resp, nil
}

// apart is the content of a response with a connection of its own, which ends with
// it.
type apart struct {
	stream.Body
	hangUp func() error
}

// Close implements stream.Body.
func (b *apart) Close() error {
	err := b.Body.Close()
	_ = b.hangUp()
	return err
}

// weighEvery is how often reported load becomes weights (gRFC A58).
const weighEvery = time.Second

// weigh takes over what endpoints report, once in a while.
func (u *upstream) weigh(ctx context.Context) {
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			u.reweigh(now)
		case <-ctx.Done():
			return
		}
	}
}

func (u *upstream) reweigh(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if next := u.set.Weigh(now); next != u.set {
		u.set = next
		u.cluster.SetEndpoints(next)
	}
}

// loadSamples are those of the streams of load reports.
func (u *upstream) loadSamples(emit func(record.Sample), name string) {
	if u.loads == nil {
		return
	}
	s := &u.loads.Stats
	loadStreams.sample(emit, float64(s.Open.Load()), "cluster", name)
	loadEvents.each(emit, []counted{
		{"opened", &s.Opened}, {"report", &s.Reports}, {"bad_report", &s.Bad}, {"failed", &s.Failed}, {"panic", &s.Panics},
	}, "event", "cluster", name)
}
