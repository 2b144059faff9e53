// Package mirror is the filter that sends copies of requests to another
// cluster, the shadow, and may compare its responses with those that clients
// get. The shadow never delays, changes or fails a request: a copy is made of
// what passes anyway, sent in the background, and given up when the budget is
// used up.
//
// The way of a copy: mirror.go decides, share.go and reason.go with it;
// copy.go makes it (header.go, redact.go) while the body passes (tee.go) and
// sends it; pair.go and compare.go look at the two responses, report.go keeps
// what they found.
package mirror

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "mirror", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Readme:   readme,
		Default:  defaults,
		Check:    check,
		Keys:     func(s *Settings) []filter.Key { return filter.Keys("key", s.Key) },
		Clusters: func(s *Settings) []filter.Reference { return []filter.Reference{{At: "to", Cluster: s.To}} },
		Build: func(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
			return build(&s, env, next)
		},
	})
}

type service struct {
	next    stream.Service
	shadow  stream.Service
	env     filter.Env
	share   share
	methods []string
	host    *authority // nil: as it is
	header  header
	hiding  hiding
	timeout time.Duration
	maxBody int
	log     bool // a line of the access log for each copy
	budget  *budget
	counts  counts
	compare *comparer // nil: responses are not compared
}

// authority is another host for copies.
type authority struct{ host, port string }

func build(s *Settings, env filter.Env, next stream.Service) (*service, error) {
	made := &service{
		next: next, env: env, methods: s.Methods, header: compileHeader(&s.Headers), timeout: time.Duration(s.Timeout),
		maxBody: int(s.Budget.MaxBody), log: s.Log, shadow: env.Cluster(s.To, time.Duration(s.Timeout)), counts: newCounts(s.To, env),
	}
	var err error
	if made.share, err = newShare(s.Share, s.Key, env.Route.Name); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if made.hiding, err = compileHiding(&s.Redact); err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if s.Host != "" {
		var a authority
		if a.host, a.port, err = stream.ParseAuthority(s.Host); err != nil {
			return nil, fmt.Errorf("mirror: host %q: %w", s.Host, err)
		}
		made.host = &a
	}
	made.budget = env.Keep(fmt.Sprintf("budget of %s: %d copies, %d bytes", s.To, s.Budget.Concurrent, s.Budget.Bytes), func() any {
		return &budget{concurrent: int64(s.Budget.Concurrent), bytes: int64(s.Budget.Bytes)}
	}).(*budget)
	env.Gauge("weir_mirror_copies", "Copies under way.", func() float64 { return float64(made.budget.copies.Load()) }, "cluster", s.To)
	env.Gauge("weir_mirror_bytes", "Bytes that copies and compared responses take.", func() float64 { return float64(made.budget.held.Load()) },
		"cluster", s.To)
	if s.Compare != nil {
		if made.compare, err = newComparer(s, env, made.budget); err != nil {
			return nil, fmt.Errorf("mirror: %w", err)
		}
	}
	return made, nil
}

// Serve implements stream.Service.
func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	switch req.Proto {
	case stream.TCP, stream.UDP, stream.Framed:
		return s.next.Serve(ctx, req)
	}
	if !s.share.picks(req) {
		return s.next.Serve(ctx, req)
	}
	why := s.unfit(req)
	switch {
	case why != none:
	case s.budget.full(): // before anything is kept for it
		why = overConcurrent
	case req.Length > int64(s.maxBody):
		why = bodyTooLarge
	}
	if why != none {
		s.counts.uncopied[why].Add(1)
		return s.next.Serve(ctx, req)
	}
	return s.mirror(ctx, req)
}

// mirror passes the request on and copies it meanwhile.
func (s *service) mirror(ctx context.Context, req *stream.Request) (resp *stream.Response, err error) {
	c := s.newCopy(req)
	passed := false
	defer func() {
		if !passed {
			c.abandon()
		}
	}()
	resp, err = s.next.Serve(ctx, req)
	passed = true
	c.pass(req.Target, resp)
	return resp, err
}
