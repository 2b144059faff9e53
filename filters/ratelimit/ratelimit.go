// Package ratelimit is the filter that refuses requests beyond a rate or a
// quota, by any value of a request. What it knows of keys is bounded (see
// internal/gcra), and a decision waits for nobody unless a store or a service
// is shared with other proxies.
package ratelimit

import (
	"context"
	_ "embed"
	"time"

	"github.com/weirproxy/weir/filter"
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
		Build:   build,
	})
}

type service struct {
	next    stream.Service
	limits  []*limit
	shadow  bool
	headers bool
	kind    stream.Kind // of a refusal
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	own := &service{next: next, shadow: s.Mode == shadow, headers: s.Headers, kind: stream.RateLimited}
	if s.Status == 503 {
		own.kind = stream.Overloaded
	}
	for i, spec := range s.all() {
		l, err := newLimit(&spec, i, &s, env)
		if err != nil {
			return nil, err
		}
		own.limits = append(own.limits, l)
	}
	own.operate(env)
	return own, nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	d := s.decide(req, time.Now())
	if d.by != nil && !s.shadow {
		_ = req.Body.Close()
		return nil, s.refusal(&d)
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.headers && d.by == nil {
		d.write(&resp.Header)
	}
	return resp, nil
}

// decision is what the limits of a filter say together: the refusal that lasts
// longest or, when all allow, the one that has least left.
type decision struct {
	by *limit // who refuses; nil: nobody does
	verdict
}

// decide asks all limits. Of several, what one refuses costs nothing at the
// others: they are looked at before they are charged.
func (s *service) decide(req *stream.Request, now time.Time) decision {
	if len(s.limits) == 1 {
		l := s.limits[0]
		return s.count(l.take(l.hash(req), now))
	}
	var room [maxLimits]uint64
	hashes := room[:len(s.limits)]
	for i, l := range s.limits {
		hashes[i] = l.hash(req)
	}
	d := s.each(hashes, now, (*limit).look)
	if d.by == nil {
		d = s.each(hashes, now, (*limit).take) // may refuse yet: others decide at the same time
	}
	return s.count(d)
}

func (s *service) each(hashes []uint64, now time.Time, ask func(*limit, uint64, time.Time) decision) (all decision) {
	for i, l := range s.limits {
		if d := ask(l, hashes[i], now); i == 0 || d.before(&all) {
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
	return d.left < other.left
}

func (s *service) count(d decision) decision {
	switch {
	case d.by == nil:
		for _, l := range s.limits {
			l.allowed.Add(1)
		}
	case s.shadow:
		d.by.wouldRefuse()
	default:
		d.by.refused.Add(1)
	}
	return d
}

func (s *service) refusal(d *decision) *stream.Fault {
	fault := &stream.Fault{Kind: s.kind, Limit: d.by.word, RetryAfter: max(d.wait, time.Nanosecond)}
	if s.headers {
		fault.Header = new(stream.Header)
		d.write(fault.Header)
	}
	return fault
}
