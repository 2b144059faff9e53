// Package bandwidthlimit is the filter that passes content on at a limited speed.
// Who reads a body waits in that Read: there is no goroutine and no buffer for
// it, and the end of the exchange ends the wait.
package bandwidthlimit

import (
	"context"
	_ "embed"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/gcra"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "bandwidth_limit", Stage: filter.Protect, Status: filter.Experimental, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: func() Settings { return Settings{Mode: "enforce", Keys: 65536} },
		Check:   check,
		Keys:    func(s *Settings) []filter.Key { return filter.Keys("key", s.Key...) },
		Build:   build,
	})
}

type service struct {
	next              stream.Service
	keys              requestkey.Tuple
	seed              maphash.Seed
	request, response *pace // nil: any speed
}

// state is what the filter keeps over generations.
type state struct {
	request, response *gcra.Table
	seed              maphash.Seed
	begun             time.Time
}

func build(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
	keys, err := requestkey.ParseTuple(s.Key)
	if err != nil {
		return nil, err
	}
	st := env.Keep(fmt.Sprintf("%s %s %s %q %s %d", s.Request, s.Response, s.Burst, []string(s.Key), s.Mode, s.Keys), func() any {
		return &state{gcra.New(s.Keys), gcra.New(s.Keys), maphash.MakeSeed(), time.Now()}
	}).(*state)
	return &service{
		next: next, keys: keys, seed: st.seed,
		request: newPace(&s, s.Request, st.request, st.begun, env, "request"), response: newPace(&s, s.Response, st.response, st.begun, env, "response"),
	}, nil
}

func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	key := s.keys.Sum(s.seed, req)
	if s.request != nil && req.Body != stream.NoBody {
		req.Body = s.request.body(ctx, key, req.Body)
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if d, tunnel := resp.Body.(stream.Duplex); tunnel {
		resp.Body = s.tunnel(ctx, key, d, req.Proto == stream.UDP)
	} else if s.response != nil {
		resp.Body = s.response.body(ctx, key, resp.Body)
	}
	return resp, nil
}
