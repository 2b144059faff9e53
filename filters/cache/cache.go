// Package cache is the filter that answers requests with responses that it has
// stored: a shared cache by RFC 9111. The rules are in rule, what is stored in
// store; here requests meet both.
package cache

import (
	"context"
	_ "embed"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "cache", Stage: filter.Answer, Status: filter.Experimental, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: defaults,
		Check:   check,
		Load:    load,
		Keys:    func(s *Settings) []filter.Key { return filter.Keys("key.values", s.Key.Values...) },
		Build: func(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
			return newService(&s, env, next)
		},
	})
}

type service struct {
	next   stream.Service
	env    filter.Env
	keys   keys
	policy rule.Policy
	shelf  *shelf
	counts *counts

	announcer    *announcer    // nil: purges are for this proxy alone
	confirmAfter time.Duration // that purges are not heard; 0: never

	maxObject   int64
	slice       int64 // 0: what is not stored is not fetched in slices
	variants    int
	background  int64
	wait        time.Duration
	honour      bool
	passTags    bool
	cacheStatus bool
}

// Serve implements stream.Service.
func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if !concerned(req) {
		return s.next.Serve(ctx, req)
	}
	switch {
	case req.Method == "GET" && req.Length == 0, req.Method == "HEAD":
		return s.get(ctx, req)
	case rule.Unsafe(req.Method):
		return s.change(ctx, req)
	}
	return s.pass(ctx, req, bypass, statusMethod)
}

// concerned: messages of HTTP that have a response of their own.
func concerned(req *stream.Request) bool {
	switch req.Proto {
	case stream.TCP, stream.UDP, stream.Framed:
		return false
	}
	return req.GRPC == stream.NotGRPC && req.Upgrade == "" && req.Method != "CONNECT"
}

// tries is how often a request looks again, after what it waited for turned out
// to be the response to another.
const tries = 3

func (s *service) get(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	a := read(req)
	query := s.keys.queries.of(req.Target.Query)
	primary := s.keys.of(req, query)
	if a.part && s.slice > 0 {
		if resp, err, done := s.combine(ctx, req, &a, query, primary); done {
			return resp, err
		}
	}
	return s.look(ctx, &question{req: req, asked: a, query: query, primary: primary})
}

// look answers a request with what is stored under its key, or gets it.
func (s *service) look(ctx context.Context, asking *question) (*stream.Response, error) {
	req, a, primary := asking.req, &asking.asked, asking.primary
	wish := (*rule.Wish)(nil)
	if s.honour && a.wishes {
		wish = &a.wish
	}
	for range tries {
		now := time.Now()
		o, at, varies := s.shelf.find(primary, &req.Header)
		if o != nil && !o.terms.Lets(a.asker) {
			return s.pass(ctx, req, bypass, statusBypass+suffixDetail+detailUnshared)
		}
		if o != nil {
			use := o.terms.UseAt(o.age(now), wish)
			if s.confirmAfter > 0 && s.announcer.deafFor(now) > s.confirmAfter {
				use = rule.Ask // it may have been purged
			}
			switch use {
			case rule.Fresh:
				req.Body.Close()
				return s.answer(req, a, o, now, hit, ""), nil
			case rule.Refresh:
				s.refresh(asking, at, o)
				req.Body.Close()
				return s.answer(req, a, o, now, stale, ""), nil
			case rule.Accepted:
				req.Body.Close()
				return s.answer(req, a, o, now, stale, ""), nil
			}
		}
		if a.wish.OnlyIfCached {
			return s.onlyCached(req), nil
		}
		q := *asking
		q.at, q.old, q.varies = at, o, varies
		if resp, err, again := s.miss(ctx, &q, now); !again {
			return resp, err
		}
	}
	return s.pass(ctx, req, miss, statusVaryMiss)
}

// pass sends a request on as it is.
func (s *service) pass(ctx context.Context, req *stream.Request, how result, status string) (*stream.Response, error) {
	s.counts.results[how].Add(1)
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	s.tell(resp, status)
	s.hideTags(resp)
	return resp, nil
}

// hideTags removes what is meant for caches.
func (s *service) hideTags(resp *stream.Response) {
	if !s.passTags {
		resp.Header.DelFunc(rule.IsTagField)
	}
}

// change sends a request on that may change what its URI stands for, and
// forgets that when it did (RFC 9111 section 4.4).
func (s *service) change(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	url := urlOf(&req.Target, s.keys.queries.of(req.Target.Query))
	target := req.Target
	resp, err := s.pass(ctx, req, bypass, statusMethod)
	if err != nil || resp.Status < 200 || resp.Status > 399 {
		return resp, err
	}
	n := s.shelf.changed(url)
	for _, id := range [...]stream.ID{stream.Location, stream.ContentLocation} {
		if value, ok := resp.Header.GetID(id); ok {
			if other, ok := s.sameOrigin(&target, value); ok && other != url {
				n += s.shelf.changed(other)
			}
		}
	}
	s.counts.purged.Add(int64(n))
	return resp, nil
}

// sameOrigin is what purges call the place that a response names, when it is on
// the host that was asked: nobody else's is forgotten on its word.
func (s *service) sameOrigin(base *stream.Target, reference string) (url string, ok bool) {
	raw, host := reference, base.Authority()
	if raw == "" || len(raw) > 1 && raw[0] == '/' && raw[1] == '/' {
		return "", false
	}
	if raw[0] != '/' {
		host = ""
	}
	target, fault := stream.ParseTarget("", "GET", raw, host)
	if fault != nil || target.Host != base.Host || target.Port != base.Port {
		return "", false
	}
	if target.Scheme == "" {
		target.Scheme = base.Scheme
	}
	return urlOf(&target, s.keys.queries.of(target.Query)), true
}

// question is a request that is not answered from the cache at once.
type question struct {
	req        *stream.Request
	asked      asked
	query      string    // canonical
	primary    store.Key // of the request
	at         store.Key // of its variant
	old        *object   // stored, and not to be used without asking; nil: none
	varies     bool      // responses of the primary key differ
	background bool      // there is no client
	slice      rule.Part // asked for in the place of all; empty: all of it is
}
