// Package jwt is the filter that verifies the tokens of requests: who signed
// them, for whom, and for how long. What they claim is known to whatever stands
// behind it.
package jwt

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/jwt/keys"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "jwt", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: defaults,
		Check:   check,
		Load:    load,
		Clusters: func(s *Settings) (list []filter.Reference) {
			for i := range s.Issuers {
				if k := &s.Issuers[i].Keys; k.URL != "" {
					list = append(list, filter.Reference{At: fmt.Sprintf("issuers[%d].keys.cluster", i), Cluster: k.Cluster, Secure: !k.Insecure})
				}
			}
			return list
		},
		Claims: true,
		Build:  build,
	})
}

type service struct {
	next     stream.Service
	issuers  []*issuer
	from     place
	optional bool
	forward  bool
	shadow   bool
	told     []told
	payload  string
	scopes   []string
	require  []demand
	leeway   time.Duration
	lifetime time.Duration
	maxToken int
	realm    string
	cache    *cache // nil: each request is verified

	counts [numReasons]*filter.Counter
	passed *filter.Counter // in shadow mode
}

// retryAfter of an answer that says that keys are missing: when the next fetch
// may have brought them.
const retryAfter = 5 * time.Second

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	from, err := parsePlace(s.From)
	if err != nil {
		return nil, err
	}
	own := &service{
		next: next, from: from, optional: s.Optional, forward: s.Forward, shadow: s.Mode == shadow, payload: s.Payload, scopes: s.Scopes,
		leeway: time.Duration(s.Leeway), lifetime: time.Duration(s.MaxLifetime), maxToken: int(s.MaxToken), realm: s.Realm,
	}
	if err := own.buildIssuers(&s, env); err != nil {
		return nil, err
	}
	for _, h := range s.Headers {
		name, err := stream.ParseClaimName(h.Claim)
		if err != nil {
			return nil, err
		}
		own.told = append(own.told, told{h.Name, name})
	}
	for _, r := range s.Require {
		name, err := stream.ParseClaimName(r.Claim)
		if err != nil {
			return nil, err
		}
		own.require = append(own.require, demand{name, r.Values})
	}
	if own.cache, err = cacheOf(&s, env); err != nil {
		return nil, err
	}
	own.observe(env)
	return own, nil
}

func (s *service) buildIssuers(settings *Settings, env filter.Env) error {
	for i := range settings.Issuers {
		spec := &settings.Issuers[i]
		source, err := sourceOf(&spec.Keys, spec.Issuer, env)
		if err != nil {
			return err
		}
		made := &issuer{name: spec.Issuer, audiences: spec.Audiences, algorithms: spec.Algorithms, types: []string{"", "jwt", "at+jwt"}, source: source}
		if len(made.algorithms) == 0 {
			made.algorithms = keys.Algorithms()
		}
		if len(spec.Types) > 0 {
			made.types = nil
			for _, name := range spec.Types {
				made.types = append(made.types, strings.TrimPrefix(strings.ToLower(name), "application/"))
			}
		}
		s.issuers = append(s.issuers, made)
	}
	return nil
}

// cacheOf is the cache of the route. What one kind of settings has verified says
// nothing under another one.
func cacheOf(s *Settings, env filter.Env) (*cache, error) {
	if s.Cache == 0 {
		return nil, nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the settings into the key of the cache: %w", err)
	}
	sum := sha256.New()
	sum.Write(text)
	for i := range s.Issuers {
		sum.Write(s.Issuers[i].Keys.Content)
	}
	return env.Keep(fmt.Sprintf("tokens %x", sum.Sum(nil)), func() any { return newCache(s.Cache) }).(*cache), nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	s.strip(req)
	v, why := s.judge(ctx, req)
	s.counts[why].Add(1)
	switch {
	case why == good:
		req.Identify(v.claims)
		for _, f := range v.fields {
			req.Header.Append(f)
		}
	case why == anonymous:
	case s.shadow:
		s.passed.Add(1)
	default:
		_ = req.Body.Close()
		return nil, s.fault(why)
	}
	if !s.forward {
		s.from.remove(&req.Header)
	}
	return s.next.Serve(ctx, req)
}

// judge finds out whose request it is.
func (s *service) judge(ctx context.Context, req *stream.Request) (*verdict, reason) {
	text, ok, why := s.from.find(&req.Header)
	switch {
	case why != good:
		return nil, why
	case !ok && s.optional:
		return nil, anonymous
	case !ok:
		return nil, missing
	case len(text) > s.maxToken:
		return nil, tooLarge
	}
	now := time.Now()
	if s.cache == nil {
		return s.verify(ctx, text, now)
	}
	var room [2048]byte // tokens are seldom longer
	sum := sha256.Sum256(append(room[:0], text...))
	if v := s.cache.get(sum, now); v != nil {
		return v, good
	}
	v, why := s.verify(ctx, text, now)
	if why == good {
		s.cache.put(sum, v)
	} else {
		s.cache.drop(sum)
	}
	return v, why
}

// observe is what operators see: no token, no claim, no key.
func (s *service) observe(env filter.Env) {
	for why := range numReasons {
		s.counts[why] = env.Counter("weir_jwt_requests_total", "Requests by what became of their token.", "result", reasons[why].word)
	}
	s.passed = env.Counter("weir_jwt_shadow_passed_total", "Requests that were let through because of mode: shadow.")
	for _, i := range s.issuers {
		source := i.source
		env.Gauge("weir_jwt_keys", "Keys that verify tokens.", func() float64 { return float64(source.State().Keys) }, "issuer", i.name)
		env.Gauge("weir_jwt_keys_age_seconds", "Time since the keys came; -1: they never did.", func() float64 {
			if at := source.State().Fetched; !at.IsZero() {
				return time.Since(at).Seconds()
			}
			return -1
		}, "issuer", i.name)
	}
	if s.cache != nil {
		env.Gauge("weir_jwt_tokens", "Verified tokens that are remembered.", func() float64 { return float64(s.cache.len()) })
	}
	env.Show(s.show)
}

// shown is what the admin page says about an issuer.
type shown struct {
	Issuer  string    `json:"issuer"`
	Keys    int       `json:"keys"`
	Skipped int       `json:"skipped_keys"`
	Fetched time.Time `json:"fetched,omitzero"`
	Usable  bool      `json:"usable"` // they are there, and not too old
	Failed  int       `json:"failed_fetches"`
	Error   string    `json:"error,omitempty"`
}

func (s *service) show() any {
	list := make([]shown, 0, len(s.issuers))
	for _, i := range s.issuers {
		st := i.source.State()
		entry := shown{Issuer: i.name, Keys: st.Keys, Skipped: st.Skipped, Fetched: st.Fetched, Usable: i.source.Current(time.Now()) != nil, Failed: st.Failed}
		if st.Err != nil {
			entry.Error = st.Err.Error()
		}
		list = append(list, entry)
	}
	results := map[string]int64{}
	for why := range numReasons {
		if n := s.counts[why].Value(); n > 0 {
			results[reasons[why].word] = n
		}
	}
	view := map[string]any{"issuers": slices.Clip(list), "requests": results}
	if s.cache != nil {
		view["tokens"], view["remembered"] = s.cache.len(), s.cache.hits.Load()
	}
	return view
}
