// Package concurrencylimit is the filter that refuses requests while too many of
// their key are under way. Its memory is bounded by the requests that are.
package concurrencylimit

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/onclose"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Settings of the filter concurrency_limit.
type Settings struct {
	// Max is how many requests of a key may be under way: from their head to the
	// end of their response or tunnel.
	Max int `yaml:"max" json:"max" required:"true" min:"1" max:"1000000000"`
	// Key is what is limited each by itself: client, client/BITS, header:NAME,
	// cookie:NAME, query:NAME, claim:NAME, or several of them together; none: all requests of
	// the route are.
	Key config.Texts `yaml:"key" json:"key"`
	// Mode says what a refusal does: enforce refuses the request, shadow counts
	// it only.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
	// Status of a refusal.
	Status int `yaml:"status" json:"status" enum:"429,503"`
}

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "concurrency_limit", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileDownstream,
		Readme:  readme,
		Default: func() Settings { return Settings{Mode: "enforce", Status: 429} },
		Check: func(s *Settings, report *config.Report) {
			if _, err := requestkey.ParseTuple(s.Key); err != nil {
				report.Errorf("key", "name a value that requests have", "%v", err)
			}
		},
		Keys:  func(s *Settings) []filter.Key { return filter.Keys("key", s.Key...) },
		Build: build,
	})
}

type service struct {
	next   stream.Service
	keys   requestkey.Tuple
	active *active
	max    int32
	shadow bool
	kind   stream.Kind

	allowed, refused *filter.Counter
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	keys, err := requestkey.ParseTuple(s.Key)
	if err != nil {
		return nil, err
	}
	own := &service{next: next, keys: keys, max: int32(s.Max), shadow: s.Mode == "shadow", kind: stream.RateLimited} //nolint:gosec // checked
	if s.Status == 503 {
		own.kind = stream.Overloaded
	}
	// Requests under way outlive a generation, and so does their number.
	own.active = env.Keep(fmt.Sprintf("%q %s", []string(s.Key), s.Mode), func() any { return newActive() }).(*active)
	refused := "refused"
	if own.shadow {
		refused = "shadow_refused"
	}
	const name, help = "weir_concurrency_limit_decisions_total", "Decisions: allowed, refused, or would have been refused (shadow_refused)."
	own.allowed, own.refused = env.Counter(name, help, "result", "allowed"), env.Counter(name, help, "result", refused)
	env.Gauge("weir_concurrency_limit_keys", "Keys of which requests are under way.", func() float64 { return float64(own.active.keys()) })
	env.Show(func() any { return map[string]int{"keys": own.active.keys(), "max": s.Max} })
	return own, nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (_ *stream.Response, err error) {
	key := s.keys.Sum(s.active.seed, req)
	switch {
	case s.active.enter(key, s.max, s.shadow):
		s.allowed.Add(1)
	case s.shadow:
		s.refused.Add(1)
	default:
		s.refused.Add(1)
		_ = req.Body.Close()
		return nil, &stream.Fault{Kind: s.kind, Limit: "concurrency_limit.max"}
	}
	kept := false
	defer func() { // a fault, or a panic behind
		if !kept {
			s.active.leave(key)
		}
	}()
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	kept = true
	s.hold(req, resp, key)
	return resp, nil
}

// hold counts the request until its response is closed.
func (s *service) hold(req *stream.Request, resp *stream.Response, key uint64) {
	active, inner := s.active, resp.Body
	resp.Body = onclose.Body(inner, func() { active.leave(key) })
	if req.Exchange.Content == inner { // closed by whoever recovers from a panic in front of this filter
		req.Exchange.Content = resp.Body
	}
}
