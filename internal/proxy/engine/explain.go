package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/weirproxy/weir/internal/control/explain"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Explain says what s would do with a request, with the stages that would do
// it: the index finds the route and the real action runs, with nothing behind
// it. Nothing is sent and no address is opened.
func Explain(s *snapshot.Snapshot, q explain.Query) (*explain.Explanation, error) {
	return explainWith(s, q, func(listener string) *route.Table {
		var entries []route.Entry
		for _, r := range s.Routes {
			if serves(r, listener) {
				entries = append(entries, route.Entry{Route: r})
			}
		}
		return route.Build(entries)
	})
}

func explainWith(s *snapshot.Snapshot, q explain.Query, table func(listener string) *route.Table) (*explain.Explanation, error) {
	return explain.Explain(s, q, explain.Stages{
		Find: func(listener string, req *stream.Request) []explain.Candidate {
			return candidates(table(listener), req)
		},
		Act: act,
	})
}

func candidates(t *route.Table, req *stream.Request) []explain.Candidate {
	found := t.Explain(req)
	list := make([]explain.Candidate, len(found))
	for i, c := range found {
		list[i] = explain.Candidate{Host: c.Host, Won: c.Won, Why: c.Why, Omitted: c.Omitted}
		if c.Entry != nil {
			list[i].Route = c.Entry.Route
		}
	}
	return list
}

// note is a counter that only hears that it was asked to count.
type note func()

func (n note) Add(int64) { n() }

// act runs the action of a route; clusters note who asked for them and answer
// nothing.
func act(r *snapshot.Route, req *stream.Request) (explain.Outcome, error) {
	var out explain.Outcome
	clusters := make([]stream.Service, len(r.Spec.To))
	for i, to := range r.Spec.To {
		clusters[i] = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			out.Target, out.Cluster = req.Target, to.Side()
			return &stream.Response{Body: stream.NoBody}, nil
		})
	}
	var target stream.Service
	if c := r.Spec.Connect; c != nil && c.Target {
		target = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			out.Target, out.Cluster = req.Target, req.Target.Host+":"+req.Target.Port
			return &stream.Response{Body: stream.NoBody}, nil
		})
	}
	last, err := action(r, clusters, target, candidate{}, exposing{of: func(string) (noting route.Exposure) {
		noting[route.ByMatch] = note(func() { out.Chosen = true })
		return noting
	}})
	if err != nil {
		return out, err
	}
	resp, err := last.Serve(context.Background(), req)
	if err != nil {
		return out, err
	}
	if out.Cluster == "" {
		out.Response = resp
	}
	return out, nil
}

// explain answers the admin page from the running generation.
func (e *Engine) explain(question admin.Question) (admin.Explanation, error) {
	g := e.running.Load()
	if g == nil {
		return admin.Explanation{}, errors.New("no generation serves yet")
	}
	q := explain.Query{Method: question.Method, URL: question.URL, Header: question.Header, Claims: question.Claims}
	if question.Client != "" {
		client, err := netip.ParseAddr(question.Client)
		if err != nil {
			return admin.Explanation{}, fmt.Errorf("client %q is not an IP address", question.Client)
		}
		q.Client = client
	}
	x, err := explainWith(g.snapshot, q, func(listener string) *route.Table {
		if f := g.fronts[listener]; f != nil {
			return f.router.Table()
		}
		return route.Build(nil)
	})
	if err != nil {
		return admin.Explanation{}, err
	}
	return admin.Explanation{Data: x, Text: x.String()}, nil
}
