// Package ratelimit is the filter that refuses requests beyond a rate or a
// quota, by any value of a request. What it knows of keys is bounded (see
// internal/gcra), and a decision waits for nobody unless a store or a service
// is shared with other proxies.
package ratelimit

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/redis"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "rate_limit", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileDownstream,
		Readme:  readme,
		Default: defaults,
		Check:   check,
		Load:    load,
		Clusters: func(s *Settings) []filter.Reference {
			if s.Service == nil {
				return nil
			}
			return []filter.Reference{{At: "service.cluster", Cluster: s.Service.Cluster}}
		},
		Keys:  keysOf,
		Build: build,
	})
}

// keysOf are the values that the limits, and what is told to a service, are made
// of.
func keysOf(s *Settings) []filter.Key {
	list := filter.Keys("key", s.Key...)
	for i := range s.Limits {
		list = append(list, filter.Keys(fmt.Sprintf("limits[%d].key", i), s.Limits[i].Key...)...)
	}
	if s.Service != nil {
		for i, entries := range s.Service.Descriptors {
			for j, e := range entries {
				list = append(list, filter.Keys(fmt.Sprintf("service.descriptors[%d][%d].from", i, j), e.From)...)
			}
		}
	}
	return list
}

type service struct {
	next     stream.Service
	limits   []*limit
	enforced int     // so many of the limits, the others are in shadow mode
	remote   *remote // nil: there is no service
	shadow   bool    // what the service refuses is let through
	headers  bool
	kind     stream.Kind // of a refusal
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	own := &service{next: next, headers: s.Headers, shadow: s.Mode == shadow, kind: stream.RateLimited}
	if s.Status == 503 {
		own.kind = stream.Overloaded
	}
	var client *redis.Client
	if s.Store != nil {
		client = s.Store.client(env)
	}
	for i, spec := range s.all() {
		l, err := newLimit(&spec, i, &s, env)
		if err != nil {
			return nil, err
		}
		if client != nil {
			l.shared = newShared(l, &s, client, env)
		}
		own.limits = append(own.limits, l)
		if !l.shadow {
			own.enforced++
		}
	}
	if s.Service != nil {
		var err error
		if own.remote, err = newRemote(s.Service, env); err != nil {
			return nil, err
		}
	}
	// Limits on trial come last: they count only what the others let through.
	slices.SortStableFunc(own.limits, func(a, b *limit) int {
		switch {
		case a.shadow == b.shadow:
			return 0
		case a.shadow:
			return 1
		}
		return -1
	})
	own.operate(env)
	return own, nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	d := s.decide(ctx, req, time.Now())
	if d.by != nil {
		d.by.refused.Add(1)
		_ = req.Body.Close()
		return nil, s.refusal(&d, d.by.word)
	}
	if s.remote != nil {
		return s.serveAsked(ctx, req, d)
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.headers && d.limit > 0 {
		d.write(&resp.Header)
	}
	return resp, nil
}

// serveAsked goes on if the service allows it.
func (s *service) serveAsked(ctx context.Context, req *stream.Request, d decision) (*stream.Response, error) {
	o := s.remote.ask(ctx, req)
	d.unknown = o.unknown
	switch judged := (decision{verdict: o.verdict}); {
	case o.refused && !s.shadow:
		d.verdict = o.verdict
		_ = req.Body.Close()
		fault := s.refusal(&d, "rate_limit.service")
		if fault.Header == nil {
			fault.Header = new(stream.Header)
		}
		addFields(fault.Header, o.responseHeaders)
		return nil, fault
	case !o.refused && judged.before(&d):
		d.verdict = o.verdict
	}
	addFields(&req.Header, o.requestHeaders)
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.headers && d.limit > 0 {
		d.write(&resp.Header)
	}
	addFields(&resp.Header, o.responseHeaders)
	return resp, nil
}

// decision is what the limits of a filter say together: the refusal that lasts
// longest or, when all allow, the one that has least left. Limits in shadow mode
// have no say.
type decision struct {
	by      *limit // who refuses; nil: nobody does
	unknown bool   // because it could not find out
	verdict
}

// decide asks all limits. Of several, what one refuses costs nothing at the
// others: they are looked at before they are charged.
func (s *service) decide(ctx context.Context, req *stream.Request, now time.Time) decision {
	var room [maxLimits]uint64
	hashes := room[:len(s.limits)]
	for i, l := range s.limits {
		hashes[i] = l.hash(req)
	}
	if s.enforced > 1 {
		if d := s.look(hashes, now); d.by != nil {
			return d
		}
	}
	return s.take(ctx, req, hashes, now)
}

func (s *service) look(hashes []uint64, now time.Time) (all decision) {
	for i, l := range s.limits[:s.enforced] {
		if d := l.foresee(hashes[i], now); d.before(&all) {
			all = d
		}
	}
	return all
}

// take charges. It may refuse what look did not: others decide at the same time.
func (s *service) take(ctx context.Context, req *stream.Request, hashes []uint64, now time.Time) (all decision) {
	for i, l := range s.limits {
		d := l.decide(ctx, req, hashes[i], now)
		switch {
		case d.by == nil:
			l.allowed.Add(1)
		case l.shadow:
			l.wouldRefuse()
		default:
			return d
		}
		if !l.shadow && d.before(&all) {
			all = d
		}
	}
	return all
}

// before tells whether d matters more than other.
func (d *decision) before(other *decision) bool {
	switch {
	case (d.by == nil) != (other.by == nil):
		return d.by != nil
	case d.by != nil:
		return d.wait > other.wait
	}
	return d.limit > 0 && (other.limit == 0 || d.left < other.left)
}

func (s *service) refusal(d *decision, word string) *stream.Fault {
	kind := s.kind
	if d.unknown {
		kind = stream.Overloaded
	}
	fault := &stream.Fault{Kind: kind, Limit: word, RetryAfter: max(d.wait, time.Nanosecond)}
	if s.headers && d.limit > 0 {
		fault.Header = new(stream.Header)
		d.write(fault.Header)
	}
	return fault
}
