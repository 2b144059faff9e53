package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Lookup resolves a name once. last is what it resolved to before. There can
// be addresses and an error: then a part failed, and where it did the
// addresses are those of last. ttl is how long the answer holds.
func (r *Resolver) Lookup(ctx context.Context, name Name, last []Addr) (addrs []Addr, ttl time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	if name.SRV {
		addrs, ttl, err = r.srv(ctx, name.Host, last)
	} else {
		addrs, ttl, err = r.host(ctx, name.Host, Addr{Weight: 1}, last)
	}
	addrs = r.inOrder(addrs)
	return addrs, min(max(ttl, r.min), r.max), err
}

// inOrder sorts addresses, so that a server that shuffles its answers changes
// nothing, and bounds their number.
func (r *Resolver) inOrder(addrs []Addr) []Addr {
	slices.SortFunc(addrs, func(a, b Addr) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), a.IP.Compare(b.IP), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight))
	})
	addrs = slices.CompactFunc(addrs, func(a, b Addr) bool { return a.Host == b.Host && a.IP == b.IP && a.Port == b.Port })
	if len(addrs) > maxAddrs {
		r.Stats.Dropped.Add(int64(len(addrs) - maxAddrs))
		slices.SortStableFunc(addrs, func(a, b Addr) int { return cmp.Compare(a.Priority, b.Priority) }) // those for later go first
		addrs = addrs[:maxAddrs]
	}
	return addrs
}

// host resolves a name to addresses: an address stands for itself, the hosts
// file comes next, then the name servers.
// Its addresses are like like in all else.
func (r *Resolver) host(ctx context.Context, host string, like Addr, last []Addr) ([]Addr, time.Duration, error) {
	like.Host = strings.TrimSuffix(host, ".")
	bare := strings.TrimSuffix(strings.TrimPrefix(like.Host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		return like.with([]netip.Addr{ip.Unmap()}), r.max, nil
	}
	local := slices.Clone(r.system.local(host))
	local = slices.DeleteFunc(local, func(ip netip.Addr) bool { return ip.Is4() && !r.v4 || ip.Is6() && !r.v6 })
	if len(local) > 0 {
		return like.with(local), r.min, nil // the file is looked at again
	}
	if _, ok := dns.IsDomainName(host); !ok || !plainHost(host) {
		return nil, 0, &lookupError{failure: NotFound, what: fmt.Sprintf("addresses of %q", host), cause: errors.New("it is not a name that a host can have")}
	}
	p := r.system.plan(host)
	var err error
	for _, name := range p.names {
		var addrs []Addr
		var ttl time.Duration
		addrs, ttl, err = r.ask(ctx, &p, name, like, last)
		if len(addrs) > 0 || !notFound(err) {
			// To try the next domain of the search list after an outage could find
			// another host of that name, while the right one is out of reach.
			return addrs, ttl, err
		}
	}
	return nil, 0, err
}

// ask asks for the addresses of one full name, both families at once. A family
// that cannot be asked for keeps its last addresses.
func (r *Resolver) ask(ctx context.Context, p *plan, name string, like Addr, last []Addr) (addrs []Addr, ttl time.Duration, err error) {
	var families []*family
	if r.v4 {
		families = append(families, &family{qtype: dns.TypeA})
	}
	if r.v6 {
		families = append(families, &family{qtype: dns.TypeAAAA})
	}
	var all sync.WaitGroup
	for _, f := range families {
		all.Go(func() { r.family(ctx, p, name, f) })
	}
	all.Wait()
	ttl = r.max
	for _, f := range families {
		if f.err == nil {
			addrs, ttl = append(addrs, like.with(f.ips)...), min(ttl, f.ttl)
			continue
		}
		err = worse(err, f.err)
		if !notFound(f.err) {
			addrs = append(addrs, keep(last, like, f.qtype == dns.TypeA)...)
		}
	}
	if len(addrs) > 0 && notFound(err) {
		err = nil // one family is enough
	}
	return addrs, ttl, err
}

// with is a for each of the addresses.
func (a Addr) with(ips []netip.Addr) []Addr {
	addrs := make([]Addr, len(ips))
	for i, ip := range ips {
		addrs[i] = a
		addrs[i].IP = ip
	}
	return addrs
}

// family is what a name has of one type of address: ips, or err.
type family struct {
	qtype uint16
	ips   []netip.Addr
	ttl   time.Duration
	err   error
}

func (r *Resolver) family(ctx context.Context, p *plan, name string, f *family) {
	result, err := r.query(ctx, p, name, f.qtype)
	if err != nil {
		f.err = err
		return
	}
	f.ttl = time.Duration(result.ttl) * time.Second
	for _, rr := range result.records {
		var ip netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			ip, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			ip, _ = netip.AddrFromSlice(rr.AAAA)
		}
		ip = ip.Unmap()
		// 0.0.0.0 is how filters say "blocked"; a connection to it would end here.
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || len(f.ips) == maxAddrs {
			r.Stats.Dropped.Add(1)
			continue
		}
		f.ips = append(f.ips, ip)
	}
	if len(f.ips) == 0 {
		f.err = r.failed(NotFound, "", dns.Question{Name: name, Qtype: f.qtype}, errors.New("none is an address to connect to"))
	}
}

// keep is the last addresses of a host in one family.
func keep(last []Addr, like Addr, is4 bool) (kept []Addr) {
	for _, a := range last {
		if a.Host == like.Host && a.Port == like.Port && a.IP.Is4() == is4 {
			kept = append(kept, like.with([]netip.Addr{a.IP})...)
		}
	}
	return kept
}

func notFound(err error) bool {
	var e *lookupError
	return errors.As(err, &e) && e.failure == NotFound
}

// worse is the error that says less about the name: an outage before an
// absence.
func worse(a, b error) error {
	if a == nil || notFound(a) && !notFound(b) {
		return b
	}
	return a
}

// plainHost tells whether a name has letters, digits, "-", "_" and "." only:
// what a server sends as a target goes into logs, metrics and SNI.
func plainHost(host string) bool {
	for _, c := range host {
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
		if !plain {
			return false
		}
	}
	return host != ""
}
