package config

import (
	"reflect"
	"time"

	"github.com/weirproxy/weir/internal/logline"
)

// Every default of the document is in this file and nowhere else. "Sheet" is
// the comparison of the defaults of Envoy, HAProxy, nginx, Traefik, Caddy, Kong
// and Linkerd in docs/design; where it gives a range, the choice is explained.

const (
	millisecond = Duration(time.Millisecond)
	second      = Duration(time.Second)
	minute      = Duration(time.Minute)
	hour        = Duration(time.Hour)
)

// Default is a value of a type of the document of which nothing was written:
// Default[Cluster]() is a cluster with every default.
func Default[T any]() T {
	var value T
	setDefaults(reflect.ValueOf(&value).Elem())
	return value
}

// SetDefaults: loopback, because the admin pages have no login.
func (a *Admin) SetDefaults() { a.Address = "127.0.0.1:9901" }

// SetDefaults: each request is one line of JSON.
func (a *AccessLog) SetDefaults() {
	a.To, a.Format, a.Sample = "stdout", "json", 1
	a.Template = logline.DefaultTemplate
}

// SetDefaults: an unbounded number of series is the most frequent way in which
// a proxy takes its metrics system down; 2,000 label sets suffice for some
// hundred routes.
func (m *Metrics) SetDefaults() { m.MaxSeries = 2000 }

// SetDefaults: on, because who has no idea of it needs it most. Envoy's edge
// guide begins at 85 to 95 %, of a heap that counts garbage; this one does not.
// A request waits for a processor three times at least, so that most clients
// of one that stands at a delay of 200 ms see more than half a second.
func (o *Overload) SetDefaults() {
	o.Enabled, o.Shorten, o.Tighten, o.Shed, o.Refuse = true, 0.7, 0.8, 0.9, 0.95
	o.MaxDelay = 200 * millisecond
	o.Reset, o.Tenant = 0.97, "client/32" // IPv6: a /64, which one client has
}

// SetDefaults: 30 s is what Kubernetes gives a process to end.
func (d *Drain) SetDefaults() { d.Grace = 30 * second }

// SetDefaults: an idle connection costs about 10 KB, so that the largest number
// costs about 160 MB. One address may take a quarter of them: below that, many
// people behind one address translator are not told from an attack.
func (l *ListenerLimits) SetDefaults() {
	l.MaxConnections = 16384
	l.MaxConnectionsPerClient = 4096
	l.MaxHeaderCount = 100      // sheet: Envoy, HAProxy, Kong
	l.MaxHeaderBytes = 64 << 10 // sheet: 60-64 KiB
	l.MaxURIBytes = 8 << 10     // RFC 9110 section 4.1: at least 8,000 bytes
	l.MaxBodyBytes = 0          // bodies are streamed: they cost no memory
	l.MaxRequests = 10000       // sheet: 1,000-10,000
}

// SetDefaults judges peers by progress.
func (t *ListenerTimeouts) SetDefaults() {
	t.Handshake = 10 * second
	t.Idle = 75 * second // sheet: 75-180 s; nginx
	t.Head = 10 * second
	t.BodyIdle = 60 * second // sheet; Caddy
	t.WriteIdle = 60 * second
	// Sheet: a least rate beside the idle time, or a byte a minute holds a
	// connection for ever. A response that the upstream feeds slowly is not
	// meant: only the waits on the client count.
	t.MinRate = 128
	t.TunnelIdle = 5 * minute // sheet: stream idle; Envoy
	t.SessionIdle = minute    // Envoy; DNS is over in moments, QUIC sends sooner
	t.Hello = 10 * second     // as for a handshake
	// A client that speaks first has begun after a round trip, from the other end of the
	// world too; one of SMTP or MySQL waits this long for its greeting.
	t.Detect = Duration(500 * time.Millisecond)
	t.MaxAge = hour // sheet: 1 h with jitter
}

// SetDefaults: requests.
func (l *Listener) SetDefaults() { l.Protocol = "http" }

// SetDefaults: sheet: 100-128 streams (RFC 9113 section 6.5.2: not under 100).
// The windows bound memory: a stream of 256 KiB carries 20 Mbit/s over 100 ms.
func (h *ListenerHTTP2) SetDefaults() {
	h.Enabled, h.MaxStreams, h.StreamWindow, h.ConnectionWindow, h.MaxAbuse = true, 128, 256<<10, 1<<20, 1000
}

// SetDefaults: a day, as most do; early data never by itself.
func (h *ListenerHTTP3) SetDefaults() {
	h.MaxStreams, h.Advertise, h.MaxAbuse = 128, 24*hour, 2000
}

// SetDefaults: who is not named gets nothing.
func (p *ProxyProtocol) SetDefaults() { p.Others = "refuse" }

// SetDefaults: a frame is a body.
func (f *ListenerFramed) SetDefaults() {
	f.Method, f.Path, f.ContentType = "POST", "/", "application/octet-stream"
}

// SetDefaults: lines of text, or a number of four bytes in network order.
func (f *Framing) SetDefaults() {
	f.Type, f.Delimiter, f.LengthBytes, f.ByteOrder, f.Max = "line", "\n", 4, "big", 1<<20
}

// SetDefaults: a client that sends no name (old, or asking by address) is
// answered. 1,024 handshakes under way are more than one machine completes
// within the handshake timeout.
func (t *ListenerTLS) SetDefaults() {
	t.UnknownName, t.MinVersion, t.MaxHandshakes = "default", "1.2", 1024
}

// SetDefaults asks clients for nothing.
func (c *ClientCertificate) SetDefaults() { c.Mode = "off" }

// SetDefaults: sheet: 15 s as in Envoy.
func (r *Route) SetDefaults() {
	r.Protocol, r.ClientCertificate, r.Timeout, r.Importance = "http", "any", 15*second, "normal"
}

// SetDefaults: what CONNECT is for.
func (c *Connect) SetDefaults() { c.Ports = []int{443} }

// SetDefaults: sheet: one retry, idempotent only (RFC 9110 section 9.2.2), full
// jitter between 25 ms and 250 ms.
func (r *Retry) SetDefaults() {
	r.Attempts = 2
	r.On = []string{"connect", "reset"}
	r.Methods = []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
	r.BackoffBase = 25 * Duration(time.Millisecond)
	r.BackoffMax = 250 * Duration(time.Millisecond)
	r.RetryAfterMax = second // a client waits meanwhile
	r.MaxBody = 64 << 10
}

// SetDefaults: a name of our own, with the unit in it.
func (d *Deadline) SetDefaults() { d.Header = "Weir-Timeout-Ms" }

// SetDefaults: the slowest twentieth has a second attempt, which is what it may
// cost at most (Dean and Barroso, The Tail at Scale). Less than 10 ms is noise.
func (h *Hedge) SetDefaults() {
	h.Quantile, h.Least, h.Share = 0.95, 10*Duration(time.Millisecond), 0.05
	h.Methods = []string{"GET", "HEAD", "OPTIONS"}
}

// SetDefaults: equal shares.
func (t *Target) SetDefaults() { t.Weight = 1 }

// SetDefaults: a twentieth first, and five minutes for each step, in which a
// version that leaks or is cold has shown it. What differs by less than one in a
// hundred, or within 10 ms, is left to people.
func (c *Canary) SetDefaults() {
	c.Steps, c.Hold, c.MinRequests = []float64{0.05, 0.25, 0.5, 1}, 5*minute, 50
	c.Tolerate, c.MaxErrors = 0.01, 0.5
	c.SlowQuantile, c.SlowFactor, c.SlowLeast, c.FalseAlarm = 0.9, 1.5, 10*Duration(time.Millisecond), 0.01
}

// SetDefaults: most experiments are over in a month.
func (s *SplitCookie) SetDefaults() {
	s.TTL, s.Path, s.Secure, s.SameSite = 30*24*hour, "/", "auto", "lax"
}

// SetDefaults: 302 is what the Gateway API takes, and browsers do not keep it.
func (r *Redirect) SetDefaults() { r.Status = 302 }

// SetDefaults: a text.
func (r *Respond) SetDefaults() { r.Status, r.ContentType = 200, "text/plain; charset=utf-8" }

// SetDefaults: least_request (the power of two choices) avoids slow endpoints
// without being told. Connect: sheet, 1-5 s; Caddy. BodyIdle: sheet, stream
// idle 5 min: the upstream is trusted more than a client, and streams of events
// are silent for long.
func (c *Cluster) SetDefaults() {
	c.Balance, c.ConnectTimeout, c.BodyIdle = "least_request", 3*second, 5*minute
	c.HashKey, c.Protocol, c.ProxyProtocol = "client", "auto", "off"
	c.Overprovision = 1.4 // sheet: Envoy
}

// SetDefaults: sheet: Envoy's min_cluster_size.
func (z *ZonePreference) SetDefaults() { z.MinEndpoints = 6 }

// SetDefaults: sheet: Envoy's share and aggression; half a minute fills pools and
// most caches.
func (s *SlowStart) SetDefaults() { s.Window, s.MinShare, s.Aggression = 30*second, 0.1, 1 }

// SetDefaults: gRPC's interval, and three times the longest that its servers take
// by themselves.
func (s *LoadStream) SetDefaults() { s.Interval, s.Silence = 10*second, 90*second }

// SetDefaults: until the client is closed, and of no use to scripts or to other
// sites.
func (s *StickyCookie) SetDefaults() {
	s.Path, s.HTTPOnly, s.Secure, s.SameSite = "/", true, "auto", "lax"
}

// SetDefaults: as for clients; an endpoint that is asked after 15 s of silence
// and has not answered 5 s later is noticed before the timeout of a route.
func (h *ClusterHTTP2) SetDefaults() {
	h.MaxStreams, h.StreamWindow, h.ConnectionWindow = 128, 256<<10, 4<<20
	h.PingInterval, h.PingTimeout = 15*second, 5*second
}

// SetDefaults: equal shares.
func (e *Endpoint) SetDefaults() { e.Weight = 1 }

// SetDefaults: records say how long they hold; a TTL of 0 must not make a flood
// of questions, one of a week must not hide a move.
func (r *Resolver) SetDefaults() { r.MinTTL, r.MaxTTL, r.Family = 5*second, 10*minute, "any" }

// SetDefaults verifies.
func (t *ClusterTLS) SetDefaults() { t.MinVersion, t.Verify = "1.2", "full" }

// SetDefaults: Envoy's 1,024 is known to refuse healthy traffic; a quarter of
// what listeners take by default is left for each cluster.
func (l *ClusterLimits) SetDefaults() {
	l.MaxConnections, l.MaxRequests = 4096, 4096
	l.MaxHeaderCount, l.MaxHeaderBytes = 100, 64<<10
}

// SetDefaults: Traefik's 10 s; 20 requests, so that two failures of two open
// nothing.
func (b *Breaker) SetDefaults() {
	b.Window, b.MinRequests, b.Open, b.MaxOpen, b.Probes = 10*second, 20, 5*second, minute, 5
}

// SetDefaults: Envoy's, but a number of requests in the place of a rate.
func (a *Admission) SetDefaults() {
	a.SuccessRate, a.Window, a.MinRequests, a.Aggression, a.Max = 0.95, 30*second, 100, 1, 0.8
}

// SetDefaults: Envoy's: 3 at least, 1,000 at most, a quarter longer, a look once
// a minute.
func (a *Adaptive) SetDefaults() { a.Min, a.Max, a.Tolerance, a.Probe = 3, 1000, 0.25, minute }

// SetDefaults: a client that waited for a second waits for the answer, too.
func (q *Queue) SetDefaults() { q.Max, q.Timeout = 100, second }

// SetDefaults: a tenth for who comes.
func (f *Fair) SetDefaults() { f.Headroom = 0.1 }

// SetDefaults: sheet: 20 %, and 10 per second as in Linkerd, so that a service
// with little traffic has retries at all.
func (b *RetryBudget) SetDefaults() { b.Ratio, b.MinPerSecond = 0.2, 10 }

// SetDefaults: a small number of idle connections makes new ones at each swell
// of traffic; Idle ends those that are not needed, well before the 75 s that
// many servers wait.
func (p *Pool) SetDefaults() { p.MaxIdle, p.Idle, p.MaxAge, p.Learn = 1024, 60*second, hour, true }

// SetDefaults: an endpoint that fails is out after 30 s at most. The other
// intervals are off: whoever wants to be asked more often, or less, says so.
func (h *HealthCheck) SetDefaults() {
	h.Type, h.Path, h.Status = "http", "/", []string{"2xx"}
	h.Interval, h.Timeout = 10*second, 2*second
	h.Healthy, h.Unhealthy = 2, 3
}

// SetDefaults: sheet: 5 in a row, 30 s doubled up to 300 s, 10 % at most;
// compared every 10 s, as in Envoy. One good answer brings it back: Linkerd.
func (e *Ejection) SetDefaults() {
	e.Consecutive, e.Base, e.Max, e.MaxShare = 5, 30*second, 300*second, 0.1
	e.Interval, e.Probation = 10*second, 1
	e.EndOnCheck = "recovery" // Envoy's any success would end ejections for what its check does not see
}

// SetDefaults: Envoy's numbers. Its rule alone ejects an endpoint for one failure
// in a thousand where the others had none; five in a hundred are worth a
// loss of capacity.
func (s *SuccessRate) SetDefaults() {
	s.Factor, s.Least, s.MinEndpoints, s.MinRequests = 1.9, 0.05, 5, 100
}

// SetDefaults: Envoy's numbers, but for two endpoints instead of five: with one
// that answers, it is clear which of the two is broken.
func (f *FailureRate) SetDefaults() { f.Above, f.MinEndpoints, f.MinRequests = 0.85, 2, 50 }

// SetDefaults: a tenth of its requests take three times as long as with the
// others: that is a disk or a neighbour, not chance. Less than 50 ms is seen by
// nobody. Of three, two say what is usual.
func (l *LatencyOutlier) SetDefaults() {
	l.Quantile, l.Factor, l.Least, l.MinEndpoints, l.MinRequests = 0.9, 3, 50*Duration(time.Millisecond), 3, 100
}

// ApplyDefaults fills what a tool that makes documents in Go left zero. What
// Parse read has its defaults already and is not touched: a 0 there was written.
func (d *Document) ApplyDefaults() {
	if d.parts == nil {
		for _, part := range []any{&d.Admin, &d.AccessLog, &d.Metrics, &d.Redact, &d.Geo, &d.Overload, &d.Drain} {
			fillZero(reflect.ValueOf(part).Elem())
		}
	}
	for i := range d.Listeners {
		fillUnread(&d.Listeners[i])
	}
	for i := range d.Routes {
		fillUnread(&d.Routes[i])
	}
	for i := range d.Clusters {
		fillUnread(&d.Clusters[i])
	}
}

func fillUnread(o object) {
	if o.origin().fields == nil {
		fillZero(reflect.ValueOf(o).Elem())
	}
}

// fillZero sets each zero field to the default of its type's owner.
func fillZero(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillZero(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			fillZero(v.Index(i))
		}
	case reflect.Struct:
		defaults := reflect.New(v.Type()).Elem()
		setDefaults(defaults)
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if v.Field(i).IsZero() {
				v.Field(i).Set(defaults.Field(i))
			} else {
				fillZero(v.Field(i))
			}
		}
	}
}

// Effective is the document as YAML with every default written out, for weir
// check --effective. Secrets are references, so there is nothing to hide.
func Effective(d *Document) ([]byte, error) { return writeYAML(encode(reflect.ValueOf(*d))) }
