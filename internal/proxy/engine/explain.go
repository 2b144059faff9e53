package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weirproxy/weir/internal/canary"
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
	return explainWith(s, q, nil, func(listener string) *route.Table {
		var entries []route.Entry
		for _, r := range s.Routes {
			if serves(r, listener) {
				entries = append(entries, route.Entry{Route: r})
			}
		}
		return route.Build(entries)
	})
}

// explainWith takes the canaries of what runs, if anything does.
func explainWith(s *snapshot.Snapshot, q explain.Query, canaries map[string]canary.State, table func(listener string) *route.Table) (*explain.Explanation, error) {
	return explain.Explain(s, q, explain.Stages{
		Find: func(listener string, req *stream.Request) []explain.Candidate {
			return candidates(table(listener), req)
		},
		Act: func(r *snapshot.Route, req *stream.Request) (explain.Outcome, error) {
			var state *canary.State
			if now, ok := canaries[r.Spec.Name]; ok {
				state = &now
			}
			return act(r, state, req)
		},
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

// at is a comparison that gives a canary this share and learns nothing.
type at float64

func (a at) Share() float64 { return float64(a) }

func (a at) Observe(canary.Arm, bool, time.Duration, time.Time) {}

// act runs the action of a route; clusters note who asked for them and answer
// nothing. state is what its canary is at; nil: nobody knows, and it begins.
func act(r *snapshot.Route, state *canary.State, req *stream.Request) (explain.Outcome, error) {
	out := explain.Outcome{Canary: state}
	var tried candidate
	if c := r.Spec.Canary; c != nil {
		share := c.Steps[0]
		if state != nil {
			share = state.Share
		}
		tried = candidate{comparison: at(share), service: stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			out.Target, out.Cluster = req.Target, c.Side()
			return &stream.Response{Body: stream.NoBody}, nil
		})}
	}
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
	last, err := action(r, clusters, target, tried, exposing{of: func(string) (noting route.Exposure) {
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
	x, err := explainWith(g.snapshot, q, e.viewCanaries(), func(listener string) *route.Table {
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
