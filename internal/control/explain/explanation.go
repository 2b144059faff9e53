package explain

import (
	"encoding/json"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
)

// Explanation is what would happen to one request. As JSON it is an interface
// that scripts use: fields are added, not changed.
type Explanation struct {
	Snapshot       uint64          `json:"snapshot"`
	Request        Request         `json:"request"`
	Listener       *Listener       `json:"listener,omitempty"`
	OtherListeners []OtherListener `json:"other_listeners,omitempty"`
	// Refused is why the request gets no further, or "".
	Refused    string          `json:"refused,omitempty"`
	Candidates []CandidateView `json:"candidates,omitempty"`
	Route      *Route          `json:"route,omitempty"`
	Clusters   []Cluster       `json:"clusters,omitempty"`
	Notes      []string        `json:"notes,omitempty"`
}

// Request is the request in its canonical form, or as it was typed when it is
// refused.
type Request struct {
	Method string `json:"method"`
	Scheme string `json:"scheme,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Query  string `json:"query,omitempty"`
	Client string `json:"client"`
	// Country, Continent and ASN are where the client is, as far as a database knows.
	Country   string `json:"country,omitempty"`
	Continent string `json:"continent,omitempty"`
	ASN       uint32 `json:"asn,omitempty"`
	GRPC      bool   `json:"grpc,omitempty"`
}

// Listener is the one that the request comes in by.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
	Pos     string `json:"pos,omitempty"`
}

// OtherListener is one that the request does not come in by.
type OtherListener struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// CandidateView is a Candidate as it is shown.
type CandidateView struct {
	Route   string `json:"route,omitempty"`
	Pos     string `json:"pos,omitempty"`
	Host    string `json:"host,omitempty"`
	Won     bool   `json:"won,omitempty"`
	Why     string `json:"why,omitempty"`
	Omitted int    `json:"omitted,omitempty"`
}

// Route is what the route that won does.
type Route struct {
	Name string `json:"name"`
	Pos  string `json:"pos,omitempty"`
	// Held: its document has an error; this is its last good version.
	Held     bool      `json:"held,omitempty"`
	Filters  []Filter  `json:"filters,omitempty"`
	Answer   *Answer   `json:"answer,omitempty"`
	Upstream *Upstream `json:"upstream,omitempty"`
	// Carries is what the route carries without looking into it ("TCP
	// connections"), or "".
	Carries string `json:"carries,omitempty"`
	// Target is where a CONNECT goes that no cluster serves.
	Target   string          `json:"target,omitempty"`
	Tunnel   *Tunnel         `json:"tunnel,omitempty"`
	Timeout  config.Duration `json:"timeout,omitempty"`
	Retry    *Retry          `json:"retry,omitempty"`
	Hedge    *Hedge          `json:"hedge,omitempty"`
	SplitKey string          `json:"split_key,omitempty"`
	Sides    []Side          `json:"sides,omitempty"`
	Canary   *Canary         `json:"canary,omitempty"`
	// Cluster is where the request goes; "" when that is random. That of a route
	// with a canary is for its present share, or for the first step when nothing
	// runs.
	Cluster string `json:"cluster,omitempty"`
	// Chosen: by the match of that side, whatever the weights.
	Chosen bool `json:"chosen,omitempty"`
}

// Filter is a filter with its settings, defaults included.
type Filter struct {
	Name     string          `json:"name"`
	Settings json.RawMessage `json:"settings"`
}

// Answer is what a redirect or a direct response says.
type Answer struct {
	Status   int    `json:"status"`
	Location string `json:"location,omitempty"`
}

// Upstream is what the upstream sees.
type Upstream struct {
	Host      string `json:"host"`
	Path      string `json:"path"`
	Rewritten bool   `json:"rewritten"`
}

// Tunnel is how long what is carried may last.
type Tunnel struct {
	Idle config.Duration `json:"idle"`
	Max  config.Duration `json:"max,omitempty"` // 0: no limit
}

// Retry is when another attempt is made.
type Retry struct {
	Attempts   int             `json:"attempts"`
	On         []string        `json:"on"`
	PerTry     config.Duration `json:"per_try,omitempty"`
	Backoff    config.Duration `json:"backoff_base"`
	BackoffMax config.Duration `json:"backoff_max"`
	// Repeatable: the method may be sent twice, not only when nothing was sent.
	Repeatable bool `json:"repeatable"`
}

// Hedge is when a second attempt is made beside the first.
type Hedge struct {
	Quantile float64         `json:"quantile"` // of the times of responses
	Least    config.Duration `json:"least"`
	Share    float64         `json:"share"` // of the requests, at the most
	// Not is why this request may not be under way twice; "": it may, without content.
	Not string `json:"not,omitempty"`
}

// Side is a side of a split.
type Side struct {
	Cluster string  `json:"cluster"` // with the labels of its endpoints, if it has some: shop{version=v2}
	Weight  int     `json:"weight"`
	Percent float64 `json:"percent"`
}

// Canary is the new version that gets a growing share.
type Canary struct {
	Cluster string          `json:"cluster"` // with the labels of its endpoints, if it has some
	Steps   []float64       `json:"steps"`
	Hold    config.Duration `json:"hold"`
	// State is what it is at in the process that was asked; nil: nothing runs.
	State *canary.State `json:"state,omitempty"`
}

// Cluster is where the request may go.
type Cluster struct {
	Name           string          `json:"name"`
	Balance        string          `json:"balance"`
	HashKey        string          `json:"hash_key,omitempty"` // that balance goes by
	Zone           string          `json:"zone,omitempty"`     // that traffic stays in
	Sticky         string          `json:"sticky,omitempty"`   // cookie, or the name of a header
	Load           string          `json:"load,omitempty"`     // where weights from the endpoints come from: responses, streams, or both
	ConnectTimeout config.Duration `json:"connect_timeout"`
	TLS            bool            `json:"tls"`
	Protocol       string          `json:"protocol"`
	ProxyProtocol  string          `json:"proxy_protocol"`
	Limits         *Limits         `json:"limits,omitempty"` // absent: the usual ones
	SRV            string          `json:"srv,omitempty"`
	Endpoints      []Endpoint      `json:"endpoints,omitempty"`
}

// Limits are what the cluster and each of its endpoints have to do at once at the
// most; 0: no limit.
type Limits struct {
	Requests    int             `json:"max_requests"`
	Connections int             `json:"max_connections"`
	Retries     int             `json:"max_retries,omitempty"`
	Endpoint    *EndpointLimits `json:"endpoint,omitempty"`
}

// EndpointLimits are those of each endpoint.
type EndpointLimits struct {
	Requests    int `json:"max_requests,omitempty"`
	Connections int `json:"max_connections,omitempty"`
	Pending     int `json:"max_pending,omitempty"`
}

// Endpoint is one address as written.
type Endpoint struct {
	Address  string            `json:"address"`
	Weight   int               `json:"weight"`
	Priority int               `json:"priority,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}
