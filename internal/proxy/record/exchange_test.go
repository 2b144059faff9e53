package record

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)

// exchange is a request that went well, with every fact set.
func exchange(r *Recorder) *stream.Request {
	req := &stream.Request{
		Method: "GET",
		Target: stream.Target{Scheme: "https", Host: "pay.example.com", Path: "/v1/orders/17", Query: "page=2&token=s3cret", HasQuery: true},
		Proto:  stream.HTTP11,
		Conn: &stream.Conn{
			ID: 7, Listener: "public",
			Remote: netip.MustParseAddrPort("192.0.2.7:51234"),
			TLS: &stream.TLS{
				Version: tls.VersionTLS13, ServerName: "pay.example.com",
				Client: &stream.Identity{Subject: "CN=shop", SPIFFE: "spiffe://example.com/shop"},
			},
		},
		Client: netip.MustParseAddr("203.0.113.9"),
		ID:     "01HZX5T2M4Q8",
		Exchange: stream.Exchange{
			Start: start, HeadRead: start.Add(time.Millisecond),
			UpstreamStart: start.Add(1200 * time.Microsecond), UpstreamHead: start.Add(5 * time.Millisecond),
			HeadSent: start.Add(5300 * time.Microsecond), UpstreamEnd: start.Add(6 * time.Millisecond), End: start.Add(7 * time.Millisecond),
			Status: 200, BytesIn: 10, BytesOut: 100,
			Endpoint: "10.0.0.1:8080", Attempts: 2, Reused: true, RetryRefused: "budget", UpstreamStatus: 200,
		},
	}
	req.Header.Add("Host", "pay.example.com")
	req.Header.Add("User-Agent", "curl/8.5.0")
	req.Header.Add("X-Tenant", "acme")
	if r != nil {
		req.Exchange.Route, req.Exchange.Cluster = r.RouteLabel("payments"), r.ClusterLabel("payments-v1")
	}
	return req
}

// pipe is a sink in memory that can fail and stall.
type pipe struct {
	mu   sync.Mutex
	data bytes.Buffer
	fail func(n int) (int, error) // nil: no failure
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		n, err := p.fail(len(b))
		p.data.Write(b[:n])
		return n, err
	}
	return p.data.Write(b)
}

func (p *pipe) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.data.String()
}

// toStdout is a recorder's config that logs every exchange to w.
func toStdout(w io.Writer) Config {
	return Config{
		AccessLog: config.AccessLog{To: "stdout", Format: "json", Sample: 1},
		Metrics:   config.Metrics{MaxSeries: 1000},
		Redact:    config.Redact{Query: []string{"token"}},
		Stdout:    w,
		Log:       slog.New(slog.DiscardHandler),
		Shards:    4,
	}
}

func newRecorder(t testing.TB, cfg Config) *Recorder {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
