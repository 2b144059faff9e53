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

// srv resolves SRV records (RFC 2782): the targets of the best priority of
// which at least one has an address.
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
	ttl := time.Duration(result.ttl) * time.Second
	err = nil
	for _, group := range r.priorities(result.records) {
		addrs, groupTTL, groupErr := r.targets(ctx, group, last)
		err = worse(err, groupErr)
		if len(addrs) > 0 {
			if notFound(err) {
				err = nil // a target without addresses is no outage
			}
			return addrs, min(ttl, groupTTL), err
		}
	}
	if err == nil {
		err = r.failed(NotFound, "", dns.Question{Name: dns.Fqdn(name), Qtype: dns.TypeSRV}, errors.New("the records have no usable target"))
	}
	return nil, 0, err
}

// priorities groups usable records, the most preferred group first.
func (r *Resolver) priorities(records []dns.RR) (groups [][]*dns.SRV) {
	var usable []*dns.SRV
	for _, rr := range records {
		srv, ok := rr.(*dns.SRV)
		if !ok || srv.Port == 0 || srv.Target == "." || !plainHost(srv.Target) || len(usable) == maxTargets {
			r.Stats.Dropped.Add(1)
			continue
		}
		usable = append(usable, srv)
	}
	slices.SortStableFunc(usable, func(a, b *dns.SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	for i, srv := range usable {
		if i == 0 || srv.Priority != usable[i-1].Priority {
			groups = append(groups, nil)
		}
		at := len(groups) - 1
		groups[at] = append(groups[at], srv)
	}
	return groups
}

// targets resolves all targets of a group at once; the slots bound how many
// questions that makes.
func (r *Resolver) targets(ctx context.Context, group []*dns.SRV, last []Addr) (addrs []Addr, ttl time.Duration, err error) {
	type part struct {
		addrs []Addr
		ttl   time.Duration
		err   error
	}
	parts := make([]part, len(group))
	var all sync.WaitGroup
	for i, srv := range group {
		all.Go(func() {
			p := &parts[i]
			p.addrs, p.ttl, p.err = r.host(ctx, strings.ToLower(srv.Target), srv.Port, max(int(srv.Weight), 1), last)
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
