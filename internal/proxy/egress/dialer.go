package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirproxy/weir/stream"
)

const (
	// defaultTimeout is that of clusters (config.Cluster.ConnectTimeout) and more
	// for the name.
	defaultTimeout = 10 * time.Second
	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 8
	// leastTry is what an address gets although others wait.
	leastTry = 2 * time.Second
)

// Config says what a Dialer may do. Nothing in it changes afterwards.
type Config struct {
	// AllowPrivate permits addresses that are not public. Those that are no
	// address of a host (multicast, unspecified, ...) are refused all the same.
	AllowPrivate bool
	// Lookup resolves a name; nil: the resolver of the system.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Connect opens a connection to an address; nil: the network.
	Connect func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Timeout is the longest time for one Dial, names included; 0: 10 s.
	Timeout time.Duration
}

// Dialer opens connections. It is safe for concurrent use.
type Dialer struct {
	Stats Stats

	cfg Config
}

// Stats counts what happened; the engine reads it on scrape.
type Stats struct {
	Dialed     atomic.Int64 // connections ever
	Failed     atomic.Int64 // names or addresses that could not be reached
	Refused    atomic.Int64 // targets with no address that is allowed
	Addresses  atomic.Int64 // addresses that were refused
	Unresolved atomic.Int64 // names without an address; also in Failed
}

// New makes a Dialer.
func New(cfg Config) *Dialer {
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Connect == nil {
		dialer := &net.Dialer{}
		cfg.Connect = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to.String())
		}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Dialer{cfg: cfg}
}

// Dial opens a connection to host (a name or an address, without brackets)
// until deadline (the zero time: none), the timeout, or the end of ctx. The
// error is a *stream.Fault: nothing was sent.
func (d *Dialer) Dial(ctx context.Context, host string, port uint16, deadline time.Time) (net.Conn, error) {
	limit := time.Now().Add(d.cfg.Timeout)
	if !deadline.IsZero() && deadline.Before(limit) {
		limit = deadline
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	addresses, f := d.resolve(ctx, host)
	if f != nil {
		return nil, f
	}
	allowed, f := d.judge(host, addresses)
	if f != nil {
		return nil, f
	}
	nc, err := d.connect(ctx, allowed, port)
	if err != nil {
		d.Stats.Failed.Add(1)
		return nil, connectFault(ctx, fmt.Errorf("connect to %q, port %d: %w", host, port, err))
	}
	d.Stats.Dialed.Add(1)
	return nc, nil
}

// resolve is every address of host. A name that looks like an address but is
// none ("127.1", "0x7f000001", "2130706433") is refused: resolvers of some
// systems read those as addresses.
func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, *stream.Fault) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if numeric(host) {
		d.Stats.Refused.Add(1)
		return nil, stream.Faultf(stream.Forbidden, stream.RetryNever,
			"%q is neither a name nor an address in its usual form", host)
	}
	addresses, err := d.cfg.Lookup(ctx, host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("the name has no address")
	}
	if err == nil {
		return addresses, nil
	}
	d.Stats.Failed.Add(1)
	d.Stats.Unresolved.Add(1)
	err = fmt.Errorf("look up %q: %w", host, err)
	if ctx.Err() != nil {
		return nil, connectFault(ctx, err)
	}
	return nil, &stream.Fault{Kind: stream.NameUnresolved, Retry: stream.RetryUnsent, Cause: err}
}

// numeric tells whether the last label of a name is a number, which no name of
// the public DNS has (RFC 3696 section 2) and every odd spelling of an address
// does.
func numeric(host string) bool {
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if len(last) > 2 && last[0] == '0' && last[1]|0x20 == 'x' {
		return strings.Trim(last[2:], "0123456789abcdefABCDEF") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// judge keeps the addresses that are allowed.
func (d *Dialer) judge(host string, addresses []netip.Addr) ([]netip.Addr, *stream.Fault) {
	allowed := make([]netip.Addr, 0, min(len(addresses), maxAddresses))
	var why string
	var refused netip.Addr
	for _, a := range addresses {
		a = a.Unmap()
		if reason := Refusal(a, d.cfg.AllowPrivate); reason != "" {
			d.Stats.Addresses.Add(1)
			why, refused = reason, a
			continue
		}
		if len(allowed) < maxAddresses {
			allowed = append(allowed, a)
		}
	}
	if len(allowed) == 0 {
		d.Stats.Refused.Add(1)
		f := stream.Faultf(stream.Forbidden, stream.RetryNever,
			"%q is %s, %s, which may not be reached from here; connect.allow_private permits private addresses", host, refused, why)
		if !d.cfg.AllowPrivate {
			f.Limit = "allow_private"
		}
		return nil, f
	}
	return allowed, nil
}

// connect tries the addresses in order. Each gets its part of the time that is
// left, so that one that is silent does not take it all.
func (d *Dialer) connect(ctx context.Context, addresses []netip.Addr, port uint16) (nc net.Conn, err error) {
	for i, a := range addresses {
		var failed error
		if nc, failed = d.try(ctx, netip.AddrPortFrom(a, port), len(addresses)-i); failed == nil {
			return nc, nil
		}
		if err == nil || !isOurLack(failed) {
			err = failed
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (d *Dialer) try(ctx context.Context, to netip.AddrPort, left int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		share := max(time.Until(end)/time.Duration(left), leastTry)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	return d.cfg.Connect(ctx, to)
}

// connectFault is why a connection could not be opened. Nothing was sent.
func connectFault(ctx context.Context, err error) *stream.Fault {
	kind := stream.ConnectFailed
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		kind = stream.ClientGone
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = stream.ConnectRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, syscall.ETIMEDOUT), ctx.Err() != nil:
		kind = stream.ConnectTimeout
	case isOurLack(err):
		kind = stream.Overloaded
	}
	return &stream.Fault{Kind: kind, Retry: stream.RetryUnsent, Cause: err}
}

// isOurLack tells whether the machine of Weir had no descriptor, memory or port
// left.
func isOurLack(err error) bool {
	for _, lack := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}
