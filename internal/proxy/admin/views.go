package admin

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/redact"
)

// Views are what the pages show, asked on each request. They are called from
// any goroutine. A page whose view is nil answers 404.
type Views struct {
	// Ready tells whether requests should be sent here: nil once a generation
	// serves and until it drains, else the reason.
	Ready func() error
	// Policy is the redaction in force.
	Policy func() *redact.Policy
	// Metrics serves /metrics.
	Metrics http.Handler
	// Snapshot is what runs, as something that encodes to JSON.
	Snapshot func() any
	Routes   func() []Route
	Clusters func() []Cluster
	// Events are the last changes of the health of endpoints, the newest first:
	// of one cluster, or "" for all. ok is false when there is no such cluster.
	Events      func(cluster string) (events []Event, ok bool)
	Connections func(max int) Connections
	// Places are the databases that say where clients are.
	Places func() any
	// Overload is what is done about overload, and why.
	Overload func() Overload
	// Canaries are what the canaries are at, by route; CommandCanary carries out
	// pause, resume, promote or rollback.
	Canaries      func() map[string]canary.State
	CommandCanary func(ctx context.Context, route, command string) (canary.State, error)
	// Filter is what the filter of that name shows, by route; nil: nothing.
	Filter func(name string) any
	// Operate does what an operator asks of a filter, on the route of that name
	// or, when that is "", on all that have the filter. input is a JSON value.
	Operate func(ctx context.Context, filter, verb, route string, input []byte) (any, error)
	Explain Explainer
	Reload  func(ctx context.Context) (ReloadResult, error)
}

// Route is one row of /routes, in the order in which they are tried.
type Route struct {
	Name      string   `json:"name"`
	Listeners []string `json:"listeners"`
	Match     string   `json:"match"`  // "pay.example.com /v1/* GET,POST header:x-tenant"
	Action    string   `json:"action"` // "payments-v1 (95), payments-v2 (5)", "redirect 308", "respond 200"
	Filters   []string `json:"filters"`
	Priority  int      `json:"priority"`
	Timeout   Duration `json:"timeout"`
	Pos       string   `json:"pos"`
	// Held says why the last version of the document is not the one that runs.
	Held string `json:"held,omitempty"`
}

// Cluster is one part of /clusters.
type Cluster struct {
	Name           string `json:"name"`
	Balance        string `json:"balance"`
	Requests       int64  `json:"requests"` // under way
	MaxRequests    int64  `json:"max_requests"`
	Connections    int64  `json:"connections"` // open, idle included
	MaxConnections int64  `json:"max_connections"`
	Retries        int64  `json:"retries"`                // under way
	MaxRetries     int64  `json:"max_retries,omitempty"`  // 0: what the budget allows
	RetryBudget    string `json:"retry_budget,omitempty"` // "12 of 20 left"
	Held           string `json:"held,omitempty"`
	// Levels are the priorities, when there are several, or zones, or panic.
	Levels []Level `json:"levels,omitempty"`
	// Each are the limits of each endpoint, if it has some.
	Each      *EndpointLimits `json:"endpoint_limits,omitempty"`
	Endpoints []Endpoint      `json:"endpoints"`
}

// EndpointLimits are those of each endpoint of a cluster; 0: no limit.
type EndpointLimits struct {
	Requests    int64 `json:"max_requests,omitempty"`
	Connections int64 `json:"max_connections,omitempty"`
	Pending     int64 `json:"max_pending,omitempty"`
}

// Level is the part of a cluster with one priority.
type Level struct {
	Priority int     `json:"priority"`
	Fit      int     `json:"fit"` // endpoints
	Of       int     `json:"of"`
	Share    float64 `json:"share"` // of the traffic
	// Local is the part of Share that stays in the local zone; absent when no zone
	// is preferred.
	Local *float64 `json:"local,omitempty"`
	Panic bool     `json:"panic,omitempty"` // health is not believed
}

// Endpoint is the health and the load of one address.
type Endpoint struct {
	Network     string    `json:"network"`
	Address     string    `json:"address"`
	Host        string    `json:"host,omitempty"`
	Weight      int       `json:"weight"`
	Priority    int       `json:"priority,omitempty"`
	Zone        string    `json:"zone,omitempty"`
	Labels      Labels    `json:"labels,omitempty"`
	Latency     Duration  `json:"latency,omitempty"`     // moving average that peak_ewma goes by
	Rising      float64   `json:"rising,omitempty"`      // the part of its share that it has in its slow start
	Reported    float64   `json:"reported,omitempty"`    // the factor by load reports
	LoadStream  string    `json:"load_stream,omitempty"` // open, or why it is not
	Health      string    `json:"health"`                // fit, ejected, unfit or probation
	Reason      string    `json:"reason,omitempty"`
	Since       time.Time `json:"since"`             // of the health
	Until       time.Time `json:"until,omitzero"`    // end of the ejection
	InFlight    int64     `json:"in_flight"`         // attempts under way
	Pending     int64     `json:"pending"`           // of them, those that wait for a connection
	Full        bool      `json:"full,omitempty"`    // at a limit of its own: passed over
	Requests    int64     `json:"requests"`          // attempts ever
	Failures    int64     `json:"failures"`          // that count for ejection
	Consecutive int64     `json:"consecutive"`       // failures in a row
	Ejections   int64     `json:"ejections"`         // ever
	Open        int       `json:"open"`              // connections
	Idle        int       `json:"idle"`              // of them
	Horizon     Duration  `json:"horizon,omitempty"` // learned keep-alive limit; 0: none
}

// Event is one change of the health of an endpoint: a row of /events.
type Event struct {
	At       time.Time `json:"at"`
	Cluster  string    `json:"cluster"`
	Endpoint string    `json:"endpoint"`
	Event    string    `json:"event"` // unfit, fit, ejected, probation or returned
	From     string    `json:"from"`  // fit, ejected, unfit or probation
	To       string    `json:"to"`
	Cause    string    `json:"cause"`  // the class of the reason
	Reason   string    `json:"reason"` // in words
	Until    time.Time `json:"until,omitzero"`
}

// EndpointOf is the row of an endpoint.
func EndpointOf(st endpoint.Status, horizon time.Duration) Endpoint {
	return Endpoint{
		Network: st.Network, Address: st.Address, Host: st.Host, Weight: st.Weight,
		Priority: st.Place.Priority, Zone: st.Place.Zone, Labels: st.Place.Labels,
		Health: st.Health.String(), Reason: st.Reason, Since: st.Since, Until: st.Until,
		InFlight: st.InFlight, Pending: st.Pending, Full: st.Full, Requests: st.Requests, Failures: st.Failures,
		Consecutive: st.Consecutive, Ejections: st.Ejections, Open: st.Open, Idle: st.Idle,
		Horizon: Duration(horizon),
	}
}

// Labels are those of an endpoint.
type Labels map[string]string

func (l Labels) String() string {
	pairs := make([]string, 0, len(l))
	for _, name := range slices.Sorted(maps.Keys(l)) {
		pairs = append(pairs, name+"="+l[name])
	}
	return strings.Join(pairs, ",")
}

// Connections is /connections: how many there are, and some of them.
type Connections struct {
	Open  int          `json:"open"`
	Shown []Connection `json:"shown"`
}

// Connection is one downstream connection.
type Connection struct {
	ID         uint64   `json:"id"`
	Listener   string   `json:"listener"`
	Protocol   string   `json:"protocol"` // of the codec: http1, http2, http3, tcp, udp, framed
	Remote     string   `json:"remote"`
	Phase      string   `json:"phase"`
	Age        Duration `json:"age"`
	Requests   int64    `json:"requests"`
	Streams    int      `json:"streams,omitempty"` // under way, where there may be several
	BytesIn    int64    `json:"bytes_in"`
	BytesOut   int64    `json:"bytes_out"`
	TLS        string   `json:"tls,omitempty"`         // "1.3"
	ServerName string   `json:"server_name,omitempty"` // of the handshake
	Identity   string   `json:"identity,omitempty"`    // of the client certificate
}

// Overload is /overload.
type Overload struct {
	Resources []Resource       `json:"resources"`
	Done      map[string]int64 `json:"done"`    // how often, by grade
	Squeeze   float64          `json:"squeeze"` // of the idle times above their floors: 0 none, 1 all
	// Tenants are those for whom most was kept in memory for longest.
	Tenants []Tenant `json:"tenants"`
}

// Resource is a thing that can be used up.
type Resource struct {
	Name   string   `json:"name"`
	Used   float64  `json:"used"`
	Limit  float64  `json:"limit"` // 0: there is none
	Grades []string `json:"grades"`
}

// Tenant is what is kept in memory for one.
type Tenant struct {
	Name  string  `json:"name"`
	Held  int64   `json:"held"`  // bytes, now
	Spent float64 `json:"spent"` // bytes times seconds, of which half is forgotten each minute
}

// Question is a request whose way is to be explained.
type Question struct {
	Method string
	URL    string
	Header [][2]string // name and value, in order
	Claims [][2]string // of a verified token, name and value
	Client string      // an address, or ""
}

// Explanation is the way of a request, for tools and for people.
type Explanation struct {
	Data any // encodes to JSON
	Text string
}

// Explainer answers a Question. An error is one of the question.
type Explainer func(q Question) (Explanation, error)

// ReloadResult is what POST /reload did.
type ReloadResult struct {
	Changed  bool            `json:"changed"`
	Snapshot uint64          `json:"snapshot"` // the number of what runs now
	Held     []string        `json:"held"`     // objects that keep their last good version
	Problems config.Problems `json:"problems"`
}

// Duration is a time that reads as text in JSON, as in documents.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes "15s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }
