// Package snapshot is the compiled form of a document: checked, with defaults
// filled in and references resolved, immutable and numbered. The control plane
// makes it (control/compile), the proxy turns it into a generation
// (proxy/engine).
package snapshot

import (
	"net/netip"
	"regexp"
	"slices"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/geo"
)

// Snapshot is one compiled state of the whole configuration.
type Snapshot struct {
	// Number grows by one with every snapshot that differs from the last.
	Number uint64
	// Hash is over the content: the same documents and files, the same Hash.
	Hash Hash

	Admin     config.Admin
	AccessLog config.AccessLog
	Metrics   config.Metrics
	Redact    config.Redact
	Geo       config.Geo
	Overload  config.Overload
	Drain     config.Drain

	// Places are the databases of Geo; nil: there are none.
	Places *geo.Database

	// Sorted by name.
	Listeners []*Listener
	Routes    []*Route
	Clusters  []*Cluster

	// Held are objects that did not compile and keep their last good version.
	Held []Held
}

// Hash is a SHA-256 over the canonical form of an object and of the content of
// the files it refers to. Equal hashes mean: nothing changed, share it.
type Hash [32]byte

// Held is an object that keeps its last good version, and why.
type Held struct {
	Kind     string          `json:"kind"` // "route"
	Name     string          `json:"name"` // "payments"
	Problems config.Problems `json:"problems"`
}

// Listener is a compiled listener.
type Listener struct {
	Hash Hash
	// Spec has every default filled in.
	Spec config.Listener
	// Network is tcp or unix; Address what to listen on. Protocol udp, and http3,
	// take the UDP port of an Address of network tcp.
	Network, Address string
	Trust            []netip.Prefix
	TLS              *ListenerTLS
	// ProxyFrom are the ranges of Spec.ProxyProtocol.From.
	ProxyFrom []netip.Prefix
}

// ListenerTLS is the material of a listener that ends TLS.
type ListenerTLS struct {
	Certificates []KeyPair
	ClientCA     Material // empty when client certificates are off
}

// KeyPair is a certificate chain and its key, checked to belong together.
type KeyPair struct {
	Chain Material
	Key   Material
	// Names are the DNS names and wildcards that the leaf covers, lower case.
	Names []string
	Pos   config.Pos
}

// Route is a compiled route.
type Route struct {
	Hash    Hash
	Spec    config.Route
	Match   Match
	Sides   []*Match // of Spec.To, in its order; nil where a side has none
	Filters []Filter
	// Listeners are the names it serves: all of them spelled out.
	Listeners []string
}

// Match is a compiled match. Paths are canonical (stream.Target.Path).
type Match struct {
	Hosts   []string // lower case; "*" any; "*.x" wildcard; empty means any
	Path    Path
	Methods []string
	Headers []Value
	Query   []Value
	Cookies []Value
	Claims  []Value // of a side only
	Clients []netip.Prefix
	Geo     *config.GeoMatch // nil: none
	GRPC    bool             // only gRPC calls
	ALPN    []string
	Ports   []uint16
}

// PathKind says how a path is compared.
type PathKind uint8

// The kinds, the most specific first (Gateway API order; a template counts as
// more specific than a prefix, a regex as less than exact and more than prefix).
const (
	PathAny PathKind = iota
	PathExact
	PathTemplate
	PathRegex
	PathPrefix
)

// Path is a compiled condition on the path.
type Path struct {
	Kind PathKind
	// Text is the canonical path (exact, prefix without trailing slash unless
	// it is "/") or the source of the template or regex.
	Text string
	// Segments of a template: literal (canonical), or a Name.
	Segments []Segment
	Regex    *regexp.Regexp
}

// Segment is one segment of a template.
type Segment struct {
	Literal string // canonical; used when Name is ""
	Name    string
	Rest    bool // takes this and all later segments; only last
}

// Value is a compiled condition on a named value.
type Value struct {
	Name   string
	Exact  *string
	Prefix *string
	Regex  *regexp.Regexp
	Absent bool
	Not    bool
}

// Filter is one filter of a route with its checked settings.
type Filter struct {
	Name     string
	Settings any // what Definition.Decode returned
	// Clusters are those that the settings refer to.
	Clusters []string
}

// Clusters are the names of all clusters that the route refers to: those of its
// sides in the order of the document, that of its canary, and those of its
// filters.
func (r *Route) Clusters() []string {
	names := make([]string, 0, len(r.Spec.To))
	for _, to := range r.Spec.To {
		names = append(names, to.Cluster)
	}
	if r.Spec.Canary != nil {
		names = append(names, r.Spec.Canary.Cluster)
	}
	for _, f := range r.Filters {
		for _, name := range f.Clusters {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Cluster is a compiled cluster.
type Cluster struct {
	Hash Hash
	Spec config.Cluster
	// Endpoints as written, parsed. Names are resolved while running.
	Endpoints []Endpoint
	TLS       *ClusterTLS
	// HealthPassword is what health checks log in with; empty: they do not.
	HealthPassword Material
}

// Endpoint is one address as written.
type Endpoint struct {
	Network string // tcp or unix
	Host    string // address or name; the path of a Unix socket
	Port    uint16 // 0 of SRV
	SRV     bool   // Host is a name of SRV records
	Weight  int
	// Priority, Zone and Labels are its place among the others.
	Priority int
	Zone     string
	Labels   map[string]string
}

// ClusterTLS is the material for TLS to endpoints.
type ClusterTLS struct {
	CA   Material // empty: system roots
	Cert *KeyPair // shown to endpoints that ask
}

// Material is the content of a secret. It has no printable form: every printer
// and encoder shows "[secret]". The content sits behind a function because fmt
// prints the unexported fields of a struct that holds a Material, but of a
// function only its address.
type Material struct{ reveal func() []byte }

// NewMaterial wraps content; the caller does not change it afterwards.
func NewMaterial(content []byte) Material {
	if len(content) == 0 {
		return Material{}
	}
	return Material{reveal: func() []byte { return content }}
}

// Reveal is the content, for the one stage that needs it.
func (m Material) Reveal() []byte {
	if m.reveal == nil {
		return nil
	}
	return m.reveal()
}

// Empty tells whether there is no content.
func (m Material) Empty() bool { return m.reveal == nil }

func (Material) String() string               { return "[secret]" }
func (Material) GoString() string             { return "[secret]" }
func (Material) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
