package config

// Cluster is a group of endpoints that serve the same requests.
type Cluster struct {
	Origin `yaml:"-" json:"-"`

	// Name is unique among clusters; it stands in logs and metrics.
	Name string `yaml:"name" json:"name" required:"true" format:"name"`
	// Endpoints are host:port, or unix:/path. A host that is a name is
	// resolved, and every address of it is an endpoint.
	Endpoints []Endpoint `yaml:"endpoints" json:"endpoints"`
	// DNS finds endpoints by SRV records.
	DNS *DNS `yaml:"dns" json:"dns,omitempty"`
	// Resolver says how names are resolved.
	Resolver Resolver `yaml:"resolver" json:"resolver"`
	// Balance is round_robin, random, least_request, peak_ewma (by latency and
	// requests under way), first (in order), or one that keeps what has the same
	// hash_key at the same endpoint: hash, maglev or rendezvous.
	Balance string `yaml:"balance" json:"balance" enum:"round_robin,random,least_request,peak_ewma,first,hash,maglev,rendezvous"`
	// HashKey is what balance hash, maglev and rendezvous go by: client,
	// header:NAME, cookie:NAME, query:NAME or claim:NAME.
	HashKey string `yaml:"hash_key" json:"hash_key"`
	// HashBound bounds what popular keys load on one endpoint: it may have this
	// many times its part of all requests under way, the others go on to the next
	// endpoint of their key; 0: no bound, else more than 1.
	HashBound float64 `yaml:"hash_bound" json:"hash_bound" max:"100"`
	// Overprovision is how many times its part of the traffic a fit endpoint can
	// take: while a priority is fit for 1/overprovision it takes all traffic, below
	// that the next one takes what is too much.
	Overprovision float64 `yaml:"overprovision" json:"overprovision" min:"1" max:"100"`
	// Zone keeps traffic in the zone of this proxy.
	Zone *ZonePreference `yaml:"zone" json:"zone,omitempty"`
	// Panic says when health is not believed.
	Panic Panic `yaml:"panic" json:"panic"`
	// SlowStart, when present, gives new endpoints a share that grows.
	SlowStart *SlowStart `yaml:"slow_start" json:"slow_start,omitempty"`
	// Sticky, when present, sends what comes from one session to one endpoint.
	Sticky *Sticky `yaml:"sticky" json:"sticky,omitempty"`
	// LoadReports takes weights from what endpoints say of their load beside their
	// responses (ORCA: endpoint-load-metrics and endpoint-load-metrics-bin in the
	// header, or the trailer of gRPC), times those written.
	LoadReports bool `yaml:"load_reports" json:"load_reports,omitempty"`
	// LoadStream, when present, asks each endpoint for a stream of such reports, for
	// weights that do not wait for responses. For endpoints that speak gRPC.
	LoadStream *LoadStream `yaml:"load_stream" json:"load_stream,omitempty"`
	// Protocol is what is spoken to the endpoints: h1, h2 (under TLS), h2c
	// (HTTP/2 in the clear), h3, or framed; auto is what the endpoint chooses by
	// ALPN under TLS, h1 in the clear. Routes with protocol tcp or udp, and those
	// for CONNECT, need auto: they carry bytes.
	Protocol string `yaml:"protocol" json:"protocol" enum:"auto,h1,h2,h2c,h3,framed"`
	// HTTP2 says how HTTP/2 is spoken to the endpoints. The number of streams and
	// the windows hold for HTTP/3, too.
	HTTP2 ClusterHTTP2 `yaml:"http2" json:"http2"`
	// Framing says what a frame is. For protocol framed only.
	Framing *Framing `yaml:"framing" json:"framing,omitempty"`
	// ProxyProtocol tells the endpoints the address of the client by a header in
	// front of each connection: off, v1 or v2. Such connections are not shared
	// by clients.
	ProxyProtocol string `yaml:"proxy_protocol" json:"proxy_protocol" enum:"off,v1,v2"`
	// TLS, when present, speaks TLS to the endpoints.
	TLS *ClusterTLS `yaml:"tls" json:"tls,omitempty"`
	// ConnectTimeout is the longest time for a connection, TLS included.
	ConnectTimeout Duration `yaml:"connect_timeout" json:"connect_timeout"`
	// BodyIdle is the longest time without a byte of a response body.
	BodyIdle Duration `yaml:"body_idle" json:"body_idle"`
	// Limits bound what the cluster is asked to do at once.
	Limits ClusterLimits `yaml:"limits" json:"limits"`
	// Breaker, when present, refuses requests while the cluster fails.
	Breaker *Breaker `yaml:"breaker" json:"breaker,omitempty"`
	// Admission, when present, refuses a share of the requests while many of the
	// others fail.
	Admission *Admission `yaml:"admission" json:"admission,omitempty"`
	// Adaptive, when present, finds out how many requests may be under way.
	Adaptive *Adaptive `yaml:"adaptive" json:"adaptive,omitempty"`
	// Queue, when present, lets requests wait for a place instead of refusing
	// them at once.
	Queue *Queue `yaml:"queue" json:"queue,omitempty"`
	// Fair, when present, shares the places out among tenants.
	Fair *Fair `yaml:"fair" json:"fair,omitempty"`
	// RetryBudget bounds the retries of all routes together.
	RetryBudget RetryBudget `yaml:"retry_budget" json:"retry_budget"`
	// Pool keeps connections for the next request.
	Pool Pool `yaml:"pool" json:"pool"`
	// Health asks the endpoints whether they are fit.
	Health *HealthCheck `yaml:"health" json:"health,omitempty"`
	// Ejection takes out endpoints that fail real requests.
	Ejection Ejection `yaml:"ejection" json:"ejection"`
}

// ClusterHTTP2 says how HTTP/2 is spoken to the endpoints.
type ClusterHTTP2 struct {
	// MaxStreams is how many requests one connection carries at once; the
	// endpoint may allow less. When they are used up, another connection is
	// opened.
	MaxStreams int `yaml:"max_streams" json:"max_streams" min:"1" max:"10000"`
	// StreamWindow is how much of one response is taken before the client has
	// taken it: what a slow client holds of it in memory.
	StreamWindow Size `yaml:"stream_window" json:"stream_window" min:"65535" max:"2147483647"`
	// ConnectionWindow is the same for all responses of a connection together.
	ConnectionWindow Size `yaml:"connection_window" json:"connection_window" min:"65535" max:"2147483647"`
	// PingInterval is how long a connection with requests under way may be
	// silent before the endpoint is asked whether it lives; 0: never.
	PingInterval Duration `yaml:"ping_interval" json:"ping_interval"`
	// PingTimeout is how long it may take to answer.
	PingTimeout Duration `yaml:"ping_timeout" json:"ping_timeout"`
}

// Endpoint is one address with its weight and its place, or a name, of which every
// address is an endpoint with that weight and place. It may be written as the
// address alone.
type Endpoint struct {
	// Address is host:port or unix:/path.
	Address string `yaml:"address" json:"address,omitempty"`
	// SRV is the name of SRV records, in place of address:
	// _http._tcp.api.example.com. Each record is an endpoint with its port, with
	// its weight times the one below, and with its priority behind the one below:
	// records of the first priority have that, those of the second the next one.
	SRV string `yaml:"srv" json:"srv,omitempty"`
	// Weight is its share relative to the others.
	Weight int `yaml:"weight" json:"weight" max:"1000000"`
	// Priority: endpoints of 0 are used first; those of 1 take what is too much for
	// the fit ones of 0, and so on.
	Priority int `yaml:"priority" json:"priority,omitempty" max:"100"`
	// Zone is where it runs.
	Zone string `yaml:"zone" json:"zone,omitempty"`
	// Labels are what routes may choose it by.
	Labels map[string]string `yaml:"labels" json:"labels,omitempty"`
}

// DNS finds endpoints by SRV records, as an endpoint with srv alone does.
type DNS struct {
	// SRV is the name of the records: _http._tcp.api.example.com.
	SRV string `yaml:"srv" json:"srv" required:"true"`
}

// Resolver says how names are resolved.
type Resolver struct {
	// Servers are addresses of name servers (host:port); empty: those of the
	// system.
	Servers []string `yaml:"servers" json:"servers"`
	// MinTTL is the least time for which an answer is used, whatever its TTL;
	// less than 1s counts as 1s.
	MinTTL Duration `yaml:"min_ttl" json:"min_ttl"`
	// MaxTTL is the longest. After that the last good answer stays in use until
	// a new one is there.
	MaxTTL Duration `yaml:"max_ttl" json:"max_ttl"`
	// Family is any, ipv4 or ipv6.
	Family string `yaml:"family" json:"family" enum:"any,ipv4,ipv6"`
}

// ClusterTLS speaks TLS to the endpoints.
type ClusterTLS struct {
	// CA is the bundle the endpoints' certificates must chain to; absent: that
	// of the system.
	CA *Secret `yaml:"ca" json:"ca,omitempty"`
	// ServerName is sent as SNI and must stand in the certificate; empty: the
	// host of the endpoint as written.
	ServerName string `yaml:"server_name" json:"server_name,omitempty"`
	// SANs: the certificate must hold at least one of these instead of
	// server_name (DNS names, spiffe:// URIs).
	SANs []string `yaml:"sans" json:"sans"`
	// Certificate is shown to endpoints that ask for one.
	Certificate *Certificate `yaml:"certificate" json:"certificate,omitempty"`
	// MinVersion is 1.2 or 1.3.
	MinVersion string `yaml:"min_version" json:"min_version" enum:"1.2,1.3"`
	// Verify is full, or off, which accepts any certificate: never outside of
	// tests.
	Verify string `yaml:"verify" json:"verify" enum:"full,off"`
}

// ClusterLimits bound what the cluster is asked to do at once.
type ClusterLimits struct {
	// MaxConnections is the largest number of open connections, idle included.
	MaxConnections int `yaml:"max_connections" json:"max_connections" min:"1"`
	// MaxRequests is the largest number of requests under way.
	MaxRequests int `yaml:"max_requests" json:"max_requests" min:"1"`
	// MaxRetries is the largest number of retries under way, those that wait for
	// their turn included; 0: what retry_budget allows.
	MaxRetries int `yaml:"max_retries" json:"max_retries,omitempty"`
	// Endpoint, when present, bounds what each endpoint is asked to do at once.
	Endpoint *EndpointLimits `yaml:"endpoint" json:"endpoint,omitempty"`
	// MaxHeaderCount is the largest number of header fields of a response.
	MaxHeaderCount int `yaml:"max_header_count" json:"max_header_count" min:"1"`
	// MaxHeaderBytes is the largest size of a response head.
	MaxHeaderBytes Size `yaml:"max_header_bytes" json:"max_header_bytes" min:"1"`
}

// EndpointLimits bound what each endpoint is asked to do at once. One that is at a
// limit is passed over while another has room.
type EndpointLimits struct {
	// MaxConnections is the largest number of open connections to one endpoint,
	// idle included; 0: no limit.
	MaxConnections int `yaml:"max_connections" json:"max_connections,omitempty"`
	// MaxRequests is the largest number of requests under way at one endpoint; 0:
	// no limit.
	MaxRequests int `yaml:"max_requests" json:"max_requests,omitempty"`
	// MaxPending is the largest number of requests that wait for a connection to
	// one endpoint, be it opened or become free; 0: no limit.
	MaxPending int `yaml:"max_pending" json:"max_pending,omitempty"`
}

// Breaker refuses requests while the cluster fails.
type Breaker struct {
	// When opens it: error_ratio (faults and 5xx), fault_ratio, latency(q) and
	// requests, compared with >, >=, < or <=, joined by && and || and
	// parentheses: "error_ratio > 0.5 || latency(0.99) > 2s".
	When string `yaml:"when" json:"when" required:"true"`
	// Window is how far back requests count.
	Window Duration `yaml:"window" json:"window"`
	// MinRequests is how many there must be.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
	// Open is how long it refuses requests; each time in a row twice as long.
	Open Duration `yaml:"open" json:"open"`
	// MaxOpen bounds that.
	MaxOpen Duration `yaml:"max_open" json:"max_open"`
	// Probes is how many requests it lets through then. When all of them go
	// well it closes, when one fails it opens again.
	Probes int `yaml:"probes" json:"probes" min:"1"`
}

// Admission refuses a share of the requests while many of the others fail, more
// the more fail.
type Admission struct {
	// SuccessRate is the share of successes from which nothing is refused.
	SuccessRate float64 `yaml:"success_rate" json:"success_rate" max:"1"`
	// Window is how far back requests count.
	Window Duration `yaml:"window" json:"window"`
	// MinRequests is how many there must be.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
	// Aggression is 1 for a share in proportion to the failures; more refuses
	// more.
	Aggression float64 `yaml:"aggression" json:"aggression"`
	// Max is the largest share that is refused.
	Max float64 `yaml:"max" json:"max" max:"1"`
}

// Adaptive finds out how many requests may be under way, by how much longer they
// take than with few.
type Adaptive struct {
	// Min is the least that it finds.
	Min int `yaml:"min" json:"min" min:"1"`
	// Max is the most that it finds.
	Max int `yaml:"max" json:"max" min:"1"`
	// Tolerance is how much longer requests may take than with few under way,
	// before there are to be less: 0.25 is a quarter.
	Tolerance float64 `yaml:"tolerance" json:"tolerance"`
	// Probe is the least time between two moments in which min requests are let
	// through, to see how long they take then.
	Probe Duration `yaml:"probe" json:"probe"`
}

// Queue lets requests wait for a place.
type Queue struct {
	// Max is how many may wait.
	Max int `yaml:"max" json:"max" min:"1" max:"100000"`
	// Timeout is the longest wait. Once the first in the queue has waited for
	// half of it, the last is served first.
	Timeout Duration `yaml:"timeout" json:"timeout"`
}

// Fair shares the places of a cluster out among tenants, those of max_requests
// or adaptive: who has less than its share is not behind who has more.
type Fair struct {
	// Key says whose a request is: client, header:NAME, cookie:NAME,
	// query:NAME or claim:NAME. Requests without it are one tenant.
	Key string `yaml:"key" json:"key" required:"true"`
	// Headroom is the share of the places that nobody above its share gets, so
	// that one that comes finds a place.
	Headroom float64 `yaml:"headroom" json:"headroom" max:"0.9"`
}

// RetryBudget bounds the retries of all routes together.
type RetryBudget struct {
	// Ratio is the share of requests that may be retried, 0 to 1.
	Ratio float64 `yaml:"ratio" json:"ratio" max:"1"`
	// MinPerSecond is how many may be retried each second in any case.
	MinPerSecond int `yaml:"min_per_second" json:"min_per_second"`
}

// Pool keeps connections for the next request.
type Pool struct {
	// MaxIdle is the largest number of idle connections per endpoint.
	MaxIdle int `yaml:"max_idle" json:"max_idle"`
	// Idle is how long a connection may be idle; the learned horizon of an
	// endpoint may make it shorter.
	Idle Duration `yaml:"idle" json:"idle"`
	// MaxAge is how long a connection may live, up to a tenth more or less.
	MaxAge Duration `yaml:"max_age" json:"max_age"`
	// Learn retires connections earlier when an endpoint closes idle ones.
	Learn bool `yaml:"learn" json:"learn"`
}

func (e *Endpoint) fromText(address string) { e.Address = address }
