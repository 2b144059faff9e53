package resolve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config says how names are resolved.
type Config struct {
	// Servers are the addresses of name servers (host:port or host); empty:
	// those of resolv.conf, with its search list.
	Servers []string
	// MinTTL and MaxTTL bound how long an answer is used before it is asked
	// for again.
	MinTTL, MaxTTL time.Duration
	Family         string // any, ipv4 or ipv6
	Log            *slog.Logger

	// What tests replace; the zero values mean the system.
	ResolvConf, Hosts string
	Dial              func(ctx context.Context, network, address string) (net.Conn, error)
}

// Name is what to resolve.
type Name struct {
	Host string // a name or an address; of SRV records: _http._tcp.api.example.com
	SRV  bool
}

// Addr is one address that a name stands for.
type Addr struct {
	IP     netip.Addr
	Port   uint16 // of SRV; else 0
	Host   string // the name that has the address: of SRV the target, else Name.Host
	Weight int    // of SRV, at least 1; else 1
	// Priority is the rank of the priority of an SRV record among those of the
	// answer: 0 is to be used first.
	Priority int
}

// Failure is why a question had no answer: metric label.
type Failure uint8

// The failures.
const (
	NotFound    Failure = iota // the name, or a record of that type, does not exist
	ServerError                // SERVFAIL, REFUSED and the like
	NoAnswer                   // in time
	Unreachable                // no connection to the name server
	Malformed                  // the answer is not one
	NumFailures
)

var failureNames = [NumFailures]string{"not_found", "server_error", "timeout", "unreachable", "malformed"}

func (f Failure) String() string { return failureNames[f] }

// Stats are the counters of a Resolver.
type Stats struct {
	Questions atomic.Int64 // sent to a server, repetitions included
	Answers   atomic.Int64 // that were good
	Failed    [NumFailures]atomic.Int64
	Truncated atomic.Int64 // answers that were asked for again over TCP
	Strange   atomic.Int64 // packets that did not belong to the question: ignored
	Dropped   atomic.Int64 // records that were not used: too many, or no address to connect to
	Kept      atomic.Int64 // times a failure left the last good addresses in use
	Changes   atomic.Int64 // changes of the addresses of a watched name
	Panics    atomic.Int64
}

// Bounds on what one question may cost, whatever servers answer.
const (
	maxAddrs   = 1024             // addresses of a name
	maxTargets = 128              // of SRV
	maxChain   = 8                // CNAMEs
	atOnce     = 64               // questions under way, of all names
	lookupTime = 10 * time.Second // for all questions of one lookup
)

// Resolver resolves names. It is safe for concurrent use.
type Resolver struct {
	Stats Stats

	log    *slog.Logger
	min    time.Duration
	max    time.Duration
	v4, v6 bool
	system *system
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	slots  chan struct{} // of questions under way
}

// New makes a resolver. It opens nothing.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{
		log: cfg.Log, dial: cfg.Dial, slots: make(chan struct{}, atOnce),
		min: max(cfg.MinTTL, time.Second), v4: cfg.Family != "ipv6", v6: cfg.Family != "ipv4",
		system: &system{resolvConf: watchedFile{path: "/etc/resolv.conf"}, hostsFile: watchedFile{path: "/etc/hosts"}},
	}
	r.max = max(cfg.MaxTTL, r.min)
	switch cfg.Family {
	case "", "any", "ipv4", "ipv6":
	default:
		return nil, fmt.Errorf("resolve: family %q is none of any, ipv4, ipv6", cfg.Family)
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if r.dial == nil {
		r.dial = new(net.Dialer).DialContext
	}
	if cfg.ResolvConf != "" {
		r.system.resolvConf.path = cfg.ResolvConf
	}
	if cfg.Hosts != "" {
		r.system.hostsFile.path = cfg.Hosts
	}
	for _, text := range cfg.Servers {
		server, err := serverAddress(text)
		if err != nil {
			return nil, err
		}
		r.system.fixed = append(r.system.fixed, server)
	}
	return r, nil
}

// serverAddress adds the port to an address. A name is refused: nobody could
// resolve it.
func serverAddress(text string) (string, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 53).String(), nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Port() != 0 {
		return ap.String(), nil
	}
	return "", fmt.Errorf("resolve: server %q is not an address; write 192.0.2.53 or 192.0.2.53:53", text)
}

// lookupError says why a name has no addresses, and what was asked.
type lookupError struct {
	failure Failure
	what    string // "A records of api.example.com."
	server  string // "" when it was not about one
	cause   error  // may be nil
}

func (e *lookupError) Error() string {
	text := fmt.Sprintf("%s: %s", e.what, e.failure)
	if e.server != "" {
		text += " from " + e.server
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *lookupError) Unwrap() error { return e.cause }
