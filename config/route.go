package config

import (
	"maps"
	"slices"
	"strings"
)

// Route says where requests go that match it.
type Route struct {
	Origin `yaml:"-" json:"-"`

	// Name is unique among routes; it stands in logs and metrics.
	Name string `yaml:"name" json:"name" required:"true" format:"name"`
	// Listeners are the names of the listeners it serves; empty: all of them
	// that speak its protocol.
	Listeners []string `yaml:"listeners" json:"listeners"`
	// Protocol is http, or tcp or udp for connections and sessions that are
	// carried without looking into them. Their matches have hosts (the server
	// name of the TLS hello), alpn, ports and clients.
	Protocol string `yaml:"protocol" json:"protocol" enum:"http,tcp,udp"`
	// Match are the conditions; all of them must hold.
	Match Match `yaml:"match" json:"match"`
	// Priority comes before every other rule of precedence; higher wins.
	Priority int `yaml:"priority" json:"priority" min:"-1000000" max:"1000000"`
	// Importance is low, normal or high: what is refused first when the process
	// comes to the end of what it may use (overload).
	Importance string `yaml:"importance" json:"importance" enum:"low,normal,high"`
	// ClientCertificate is any, or require, which refuses requests from
	// connections that showed no verified certificate (with 421 or 403).
	ClientCertificate string `yaml:"client_certificate" json:"client_certificate" enum:"any,require"`
	// Passthrough: on a listener with tls, connections that this tcp route
	// matches are passed on as they are, and TLS ends at the endpoint.
	Passthrough bool `yaml:"passthrough" json:"passthrough,omitempty"`
	// EarlyData takes requests that came as early data, which an attacker can
	// send again: only for what does no harm when it is done twice.
	EarlyData bool `yaml:"early_data" json:"early_data,omitempty"`
	// Connect, when present, makes the route one for CONNECT, and for nothing
	// else.
	Connect *Connect `yaml:"connect" json:"connect,omitempty"`
	// Tunnel bounds upgraded connections, CONNECT tunnels, TCP connections and
	// UDP sessions of this route.
	Tunnel Tunnel `yaml:"tunnel" json:"tunnel"`
	// Timeout is the longest time until the head of the response, all attempts
	// together.
	Timeout Duration `yaml:"timeout" json:"timeout"`
	// Deadline, when present, lets clients say how long they wait, and tells
	// upstreams what is left of it.
	Deadline *Deadline `yaml:"deadline" json:"deadline,omitempty"`
	// Retry says when another attempt is made.
	Retry Retry `yaml:"retry" json:"retry"`
	// Hedge, when present, makes a second attempt while the first is slow, and
	// takes the response that comes first.
	Hedge *Hedge `yaml:"hedge" json:"hedge,omitempty"`
	// Filters run in this order.
	Filters []Filter `yaml:"filters" json:"filters"`
	// Rewrite changes what the upstream sees.
	Rewrite *Rewrite `yaml:"rewrite" json:"rewrite,omitempty"`
	// To are the clusters that serve it, by weight. One of to, redirect and
	// respond is needed.
	To []Target `yaml:"to" json:"to"`
	// Canary, when present, gives a new version a growing share of what goes to
	// the clusters under to, as long as it does no worse.
	Canary *Canary `yaml:"canary" json:"canary,omitempty"`
	// Split keeps a client on its side of a weighted split, and of a canary.
	Split Split `yaml:"split" json:"split"`
	// Redirect answers with another location.
	Redirect *Redirect `yaml:"redirect" json:"redirect,omitempty"`
	// Respond answers from the document itself.
	Respond *Respond `yaml:"respond" json:"respond,omitempty"`
}

// Connect is a route for CONNECT: the tunnel goes to an endpoint of the cluster
// under to, whatever the client asked for, or to what it asked for.
type Connect struct {
	// Target: the tunnel goes to the host and port that the client asks for,
	// which match.hosts must name. The route then has no to.
	Target bool `yaml:"target" json:"target,omitempty"`
	// Ports are those that a client may ask for with target.
	Ports []int `yaml:"ports" json:"ports"`
	// AllowPrivate permits targets with addresses that are not public
	// (loopback, link-local, private ranges).
	AllowPrivate bool `yaml:"allow_private" json:"allow_private,omitempty"`
}

// Tunnel bounds what is carried without looking into it.
type Tunnel struct {
	// Idle is the longest silence; 0: as the listener has it.
	Idle Duration `yaml:"idle" json:"idle"`
	// Max is the longest duration; 0: as the listener has it.
	Max Duration `yaml:"max" json:"max"`
}

// GRPCMatch is a condition on a gRPC call.
type GRPCMatch struct {
	// Service is the full name: package.Service; empty: any.
	Service string `yaml:"service" json:"service,omitempty"`
	// Method is the name without the service; empty: any.
	Method string `yaml:"method" json:"method,omitempty"`
}

// Match are the conditions of a route. An empty part always holds.
type Match struct {
	// Hosts are names (a.example.com), wildcards for one or more labels
	// (*.example.com) or "*".
	Hosts []string `yaml:"hosts" json:"hosts"`
	// Path is one condition on the path.
	Path PathMatch `yaml:"path" json:"path"`
	// Methods are the methods, upper case.
	Methods []string `yaml:"methods" json:"methods"`
	// Headers are conditions on request headers.
	Headers []ValueMatch `yaml:"headers" json:"headers"`
	// Query are conditions on query parameters (the first of each name).
	Query []ValueMatch `yaml:"query" json:"query"`
	// Cookies are conditions on cookies.
	Cookies []ValueMatch `yaml:"cookies" json:"cookies"`
	// Clients are address ranges (CIDR) of the client.
	Clients []string `yaml:"clients" json:"clients"`
	// Geo is a condition on where the client is.
	Geo *GeoMatch `yaml:"geo" json:"geo,omitempty"`
	// GRPC is a condition on gRPC calls, instead of path and methods.
	GRPC *GRPCMatch `yaml:"grpc" json:"grpc,omitempty"`
	// ALPN are protocols of which the client must offer one. For routes with
	// protocol tcp.
	ALPN []string `yaml:"alpn" json:"alpn"`
	// Ports are ports of the listener. For routes with protocol tcp and udp.
	Ports []int `yaml:"ports" json:"ports"`
}

// PathMatch is one condition on the path; at most one field is set.
type PathMatch struct {
	// Exact is the whole path.
	Exact string `yaml:"exact" json:"exact,omitempty"`
	// Prefix holds for the path itself and below it, by whole segments.
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`
	// Template has {name} for one segment and {name...} for the rest.
	Template string `yaml:"template" json:"template,omitempty"`
	// Regex must match the whole path (RE2).
	Regex string `yaml:"regex" json:"regex,omitempty"`
}

// ValueMatch is a condition on a named value. With none of the conditions set
// it holds when the name is present. For repeated headers the values are
// joined with ", " first.
type ValueMatch struct {
	// Name of the header, parameter, cookie or claim.
	Name string `yaml:"name" json:"name" required:"true"`
	// Exact is the whole value.
	Exact *string `yaml:"exact" json:"exact,omitempty"`
	// Prefix is the beginning of the value.
	Prefix *string `yaml:"prefix" json:"prefix,omitempty"`
	// Regex must match the whole value (RE2).
	Regex *string `yaml:"regex" json:"regex,omitempty"`
	// Absent holds when the name is not there.
	Absent bool `yaml:"absent" json:"absent,omitempty"`
	// Not turns the condition around.
	Not bool `yaml:"not" json:"not,omitempty"`
}

// Target is one side of a weighted split.
type Target struct {
	// Cluster is the name of a cluster.
	Cluster string `yaml:"cluster" json:"cluster" required:"true"`
	// Weight is its share, relative to the sum of all weights; 0: no traffic.
	Weight int `yaml:"weight" json:"weight" max:"1000000"`
	// Labels: only endpoints of the cluster that have all of them.
	Labels map[string]string `yaml:"labels" json:"labels,omitempty"`
	// Match, when present, gives this side the requests for which it holds,
	// whatever the weights and a canary. The first side whose match holds counts.
	Match *SideMatch `yaml:"match" json:"match,omitempty"`
}

// SideMatch are conditions on a request; all of them must hold.
type SideMatch struct {
	// Headers are conditions on request headers, also on those that filters of
	// the route have set.
	Headers []ValueMatch `yaml:"headers" json:"headers"`
	// Query are conditions on query parameters (the first of each name).
	Query []ValueMatch `yaml:"query" json:"query"`
	// Cookies are conditions on cookies.
	Cookies []ValueMatch `yaml:"cookies" json:"cookies"`
	// Clients are address ranges (CIDR) of the client.
	Clients []string `yaml:"clients" json:"clients"`
	// Claims are conditions on what the verified token of the request says; of a
	// list, on any of its elements. They need a filter jwt.
	Claims []ValueMatch `yaml:"claims" json:"claims"`
	// Geo is a condition on where the client is.
	Geo *GeoMatch `yaml:"geo" json:"geo,omitempty"`
}

// GeoMatch is a condition on where the client is, by the databases of geo. Of each
// list one must hold; a client whose place is not known meets none.
type GeoMatch struct {
	// Countries are two letters (ISO 3166-1): DE.
	Countries []string `yaml:"countries" json:"countries"`
	// Continents are AF, AN, AS, EU, NA, OC, SA.
	Continents []string `yaml:"continents" json:"continents"`
	// ASNs are numbers of autonomous systems.
	ASNs []int `yaml:"asns" json:"asns"`
	// Not turns the condition around; it then holds for clients whose place is not
	// known, too.
	Not bool `yaml:"not" json:"not,omitempty"`
}

// Side is what people call it: the cluster, with the labels if there are any.
func (t *Target) Side() string { return side(t.Cluster, t.Labels) }

// Side is what people call the new version.
func (c *Canary) Side() string { return side(c.Cluster, c.Labels) }

func side(cluster string, labels map[string]string) string {
	if len(labels) == 0 {
		return cluster
	}
	pairs := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, name+"="+labels[name])
	}
	return cluster + "{" + strings.Join(pairs, ",") + "}"
}

// Split keeps a client on its side of a weighted split.
type Split struct {
	// Key is header:NAME, cookie:NAME, query:NAME, claim:NAME, country, continent,
	// asn or client; requests with the
	// same value take the same side, and a change of weights moves only those
	// at the boundary. Empty, or the value absent: random.
	Key string `yaml:"key" json:"key"`
	// Issue, when present, gives clients that come without it a random value for
	// the cookie that key names, so that they stay on their side, too.
	Issue *SplitCookie `yaml:"issue" json:"issue,omitempty"`
}

// SplitCookie says how the cookie of a split is set.
type SplitCookie struct {
	// TTL is how long the client keeps it.
	TTL Duration `yaml:"ttl" json:"ttl"`
	// Path is the path below which it is sent.
	Path string `yaml:"path" json:"path"`
	// Secure: the cookie is sent on TLS only. auto is so when it is set on TLS.
	Secure string `yaml:"secure" json:"secure" enum:"auto,always,never"`
	// SameSite says whether requests that other sites make have it.
	SameSite string `yaml:"same_site" json:"same_site" enum:"lax,strict,none"`
}

// Canary gives a new version a growing share of the requests. It is compared
// with the clusters under to, request by request: by the share of errors (faults
// and 5xx) and of slow responses. A step that ends well is followed by the next;
// as soon as there is enough evidence that it is worse it gets nothing any more,
// until an operator or a change of this part of the document begins anew.
type Canary struct {
	// Cluster is the new version.
	Cluster string `yaml:"cluster" json:"cluster" required:"true"`
	// Labels: only endpoints of the cluster that have all of them. The clusters
	// under to may then be the same one, with other labels.
	Labels map[string]string `yaml:"labels" json:"labels,omitempty"`
	// Steps are its shares, from above 0 to 1, growing. After the last one it
	// keeps that.
	Steps []float64 `yaml:"steps" json:"steps"`
	// Hold is how long each step lasts at least.
	Hold Duration `yaml:"hold" json:"hold"`
	// MinRequests is how many of its requests a step needs, to go on and to roll
	// back.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
	// Tolerate is how much larger its share of errors or of slow responses may
	// be.
	Tolerate float64 `yaml:"tolerate" json:"tolerate" max:"1"`
	// MaxErrors is the share of errors at which it is rolled back whatever the
	// others do.
	MaxErrors float64 `yaml:"max_errors" json:"max_errors" max:"1"`
	// SlowQuantile and SlowFactor say what is slow: what takes slow_factor times
	// what that quantile of the others' responses took in the last minute.
	SlowQuantile float64 `yaml:"slow_quantile" json:"slow_quantile" max:"1"`
	// SlowFactor is 0 where only errors count.
	SlowFactor float64 `yaml:"slow_factor" json:"slow_factor"`
	// SlowLeast is what is never slow: what differs below it is noise.
	SlowLeast Duration `yaml:"slow_least" json:"slow_least"`
	// FalseAlarm is the probability that one that is no worse is rolled back.
	FalseAlarm float64 `yaml:"false_alarm" json:"false_alarm" max:"0.5"`
}

// Rewrite changes what the upstream sees.
type Rewrite struct {
	// Prefix replaces the part of the path that match.path.prefix took.
	Prefix *string `yaml:"prefix" json:"prefix,omitempty"`
	// Path replaces the whole path; {name} are the parts of match.path.template.
	Path *string `yaml:"path" json:"path,omitempty"`
	// Host replaces the Host header.
	Host string `yaml:"host" json:"host,omitempty"`
}

// Redirect answers with another location.
type Redirect struct {
	// Status is 301, 302, 303, 307 or 308.
	Status int `yaml:"status" json:"status" enum:"301,302,303,307,308"`
	// Scheme replaces the scheme.
	Scheme string `yaml:"scheme" json:"scheme,omitempty" enum:",http,https"`
	// Host replaces the host.
	Host string `yaml:"host" json:"host,omitempty"`
	// Port replaces the port.
	Port int `yaml:"port" json:"port,omitempty" max:"65535"`
	// Prefix replaces the part of the path that match.path.prefix took.
	Prefix *string `yaml:"prefix" json:"prefix,omitempty"`
	// Path replaces the whole path.
	Path *string `yaml:"path" json:"path,omitempty"`
	// DropQuery leaves the query out.
	DropQuery bool `yaml:"drop_query" json:"drop_query,omitempty"`
}

// Respond answers from the document itself.
type Respond struct {
	// Status is the status code, 200 to 599.
	Status int `yaml:"status" json:"status" min:"200" max:"599"`
	// Body is the content.
	Body string `yaml:"body" json:"body"`
	// ContentType is the type of the content.
	ContentType string `yaml:"content_type" json:"content_type"`
}

// Retry says when another attempt is made.
type Retry struct {
	// Attempts is the largest number of attempts, the first included; 1: never retry.
	Attempts int `yaml:"attempts" json:"attempts" min:"1" max:"10"`
	// On are the conditions: connect, reset, timeout (per try), status codes or
	// classes (503, 5xx), and the statuses of gRPC, with grpc: in front
	// (grpc:unavailable).
	On []string `yaml:"on" json:"on"`
	// Methods may be sent twice although the upstream may have acted on the
	// first; others only when nothing of the request was sent.
	Methods []string `yaml:"methods" json:"methods"`
	// PerTry is the longest time for one attempt; 0: only timeout counts.
	PerTry Duration `yaml:"per_try" json:"per_try"`
	// BackoffBase is the upper bound of the first random wait; it doubles.
	BackoffBase Duration `yaml:"backoff_base" json:"backoff_base"`
	// BackoffMax bounds the random wait.
	BackoffMax Duration `yaml:"backoff_max" json:"backoff_max"`
	// RetryAfterMax is the longest Retry-After of a 429 or 503 that is waited
	// for; a response that asks for more is passed on.
	RetryAfterMax Duration `yaml:"retry_after_max" json:"retry_after_max"`
	// MaxBody is the largest body that is kept to be sent again.
	MaxBody Size `yaml:"max_body" json:"max_body"`
}

// Deadline is how long a request may take, as the client and every hop says it.
// gRPC calls have grpc-timeout for that, which needs no word in the document.
type Deadline struct {
	// Header holds the whole milliseconds that are left until the head of the
	// response. What a client sends counts when it is less than timeout; each
	// attempt tells the endpoint what is left then.
	Header string `yaml:"header" json:"header"`
	// Least is how long the endpoints need at least: a request that has less
	// left is refused instead of begun.
	Least Duration `yaml:"least" json:"least"`
}

// Hedge makes a second attempt while the first is slow.
type Hedge struct {
	// Quantile of the times that responses to this route took lately, after
	// which the second attempt is made.
	Quantile float64 `yaml:"quantile" json:"quantile" max:"1"`
	// Least is the shortest time after which it is made.
	Least Duration `yaml:"least" json:"least"`
	// Share is how many requests may have a second attempt, 0 to 1.
	Share float64 `yaml:"share" json:"share" max:"1"`
	// Methods whose requests may be sent twice. Those with content are not.
	Methods []string `yaml:"methods" json:"methods"`
}

// Filter is one filter of a route: its name, and settings that only the filter
// itself can decode.
type Filter struct {
	Name     string
	Settings Node
}
