package resolve

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// srv resolves SRV records (RFC 2782): all targets that have an address, each with
// its weight and the rank of its priority. A weight of 0 is that of the smallest
// chance, as the RFC has it: 1.
func (r *Resolver) srv(ctx context.Context, name string, last []Addr) ([]Addr, time.Duration, error) {
	p := r.system.plan(name)
	var result found
	var err error
	for _, candidate := range p.names {
		if result, err = r.query(ctx, &p, candidate, dns.TypeSRV); err == nil || !notFound(err) {
			break
		}
	}
	if err != nil {
		return nil, 0, err
	}
	addrs, ttl, err := r.targets(ctx, r.usable(result.records), last)
	switch {
	case len(addrs) > 0 && notFound(err):
		err = nil // a target without addresses is no outage
	case len(addrs) == 0 && err == nil:
		err = r.failed(NotFound, "", dns.Question{Name: dns.Fqdn(name), Qtype: dns.TypeSRV}, errors.New("the records have no usable target"))
	}
	return addrs, min(ttl, time.Duration(result.ttl)*time.Second), err
}

// usable are the records with something to connect to, the most preferred first.
func (r *Resolver) usable(records []dns.RR) (usable []*dns.SRV) {
	for _, rr := range records {
		if srv, ok := rr.(*dns.SRV); ok && srv.Port != 0 && srv.Target != "." && plainHost(srv.Target) {
			usable = append(usable, srv)
		} else {
			r.Stats.Dropped.Add(1)
		}
	}
	slices.SortStableFunc(usable, func(a, b *dns.SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	if len(usable) > maxTargets {
		r.Stats.Dropped.Add(int64(len(usable) - maxTargets))
		usable = usable[:maxTargets]
	}
	return usable
}

// targets resolves all targets at once; the slots bound how many questions that
// makes.
func (r *Resolver) targets(ctx context.Context, records []*dns.SRV, last []Addr) (addrs []Addr, ttl time.Duration, err error) {
	type part struct {
		addrs []Addr
		ttl   time.Duration
		err   error
	}
	parts := make([]part, len(records))
	var all sync.WaitGroup
	rank := 0
	for i, srv := range records {
		if i > 0 && srv.Priority != records[i-1].Priority {
			rank++
		}
		like := Addr{Port: srv.Port, Weight: max(int(srv.Weight), 1), Priority: rank}
		all.Go(func() {
			p := &parts[i]
			p.addrs, p.ttl, p.err = r.host(ctx, strings.ToLower(srv.Target), like, last)
		})
	}
	all.Wait()
	ttl = r.max
	for _, p := range parts {
		if p.err != nil {
			err = worse(err, p.err)
		}
		if len(p.addrs) > 0 {
			ttl = min(ttl, p.ttl)
		}
		addrs = append(addrs, p.addrs...)
	}
	return addrs, ttl, err
}
