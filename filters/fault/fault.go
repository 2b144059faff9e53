// Package fault is the filter that makes requests fail on purpose: it delays
// them and spoils their responses, by share, condition and header, within a
// hard stop, so that people learn before an outage what one does.
package fault

import (
	"context"
	_ "embed"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

//go:embed README.md
var readme string

// Definition of the filter.
func Definition() filter.Definition {
	return filter.Define(filter.Spec[Settings]{
		Name: "fault", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Readme:  readme,
		Default: defaults,
		Check:   check,
		Build: func(s Settings, env filter.Env, next stream.Service) (stream.Service, error) {
			return build(s, env, next, chance{})
		},
	})
}

type service struct {
	next   stream.Service
	drill  *drill
	dice   dice
	when   conditions
	header string
	delay  *Delay   // nil: no delays
	abort  *aborter // nil: no aborts
	shadow bool

	delayed, aborted *filter.Counter // in shadow: that would have been
	refused          [numRefusals]*filter.Counter
	log              *slog.Logger
	logged           atomic.Int64 // when shadow last wrote a line
}

func build(s Settings, env filter.Env, next stream.Service, by dice) (stream.Service, error) {
	own := &service{next: next, dice: by, header: s.Header, delay: s.Delay, shadow: s.Mode == shadow, log: env.Log}
	var problems config.Problems // none: the settings are checked
	own.when = s.When.conditions(config.NewReport("", func(string) config.Pos { return config.Pos{} }, &problems))
	if s.Abort != nil {
		own.abort = newAborter(s.Abort)
	}
	own.countBy(env)
	key, err := config.CanonicalJSON(s)
	if err != nil {
		return nil, err
	}
	own.drill = env.Keep("drill "+string(key), func() any {
		d := newDrill(&s, time.Now())
		env.Log.Warn("faults are injected into requests of this route until the drill ends",
			"mode", d.mode, "begins", d.begin, "ends", d.end, "max_share", d.most)
		return d
	}).(*drill)
	all := env.Keep("roster", func() any { return new(roster) }).(*roster)
	all.enter(env.Context, own.drill)
	env.Show(func() any { return all.view() })
	env.Operate("stop", func(context.Context, []byte) (any, error) {
		all.stop()
		env.Log.Warn("fault injection is stopped by an operator; a change of its settings starts it again")
		return all.view(), nil
	})
	return own, nil
}

// countBy makes the counters of what can happen.
func (s *service) countBy(env filter.Env) {
	name, help := "weir_fault_injected_total", "Requests that met a fault on purpose, by its kind."
	if s.shadow {
		name, help = "weir_fault_shadowed_total", "Requests that would have met a fault if the filter did not run in mode shadow, by its kind."
	}
	if s.delay != nil {
		s.delayed = env.Counter(name, help, "kind", byDelay)
	}
	if s.abort != nil {
		s.aborted = env.Counter(name, help, "kind", s.abort.kind)
	}
	for r := admitted + 1; r < numRefusals; r++ {
		s.refused[r] = env.Counter("weir_fault_refused_total", "Faults that were not made because of a bound, by its name.", "bound", refusals[r])
	}
}

// Serve implements stream.Service.
func (s *service) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	now := time.Now()
	if !s.drill.runs(now) || !s.when.hold(req) {
		return s.next.Serve(ctx, req)
	}
	s.drill.window.see(now)
	w := s.choose(req)
	if !w.delay && !w.abort {
		return s.next.Serve(ctx, req)
	}
	if r := s.drill.admit(now); r != admitted {
		s.refused[r].Add(1)
		return s.next.Serve(ctx, req)
	}
	if s.shadow {
		s.drill.release()
		s.note(req, w, now)
		return s.next.Serve(ctx, req)
	}
	return s.inject(ctx, req, w)
}

// choose says which faults the request is to meet: those that it asks for, if
// it may, or by chance, each for itself.
func (s *service) choose(req *stream.Request) (w wish) {
	asked := false
	if s.header != "" {
		if value, ok := requestkey.Header(&req.Header, s.header); ok {
			w, asked = parseWish(value)
		}
	}
	if !asked {
		w.delay = s.delay != nil && s.dice.Float64() < s.delay.Share
		w.abort = s.abort != nil && s.dice.Float64() < s.abort.share
	}
	w.delay = w.delay && s.delay != nil
	w.abort = w.abort && s.abort != nil && s.abort.applies(req)
	return w
}

// inject makes the faults; the request was admitted.
func (s *service) inject(ctx context.Context, req *stream.Request, w wish) (*stream.Response, error) {
	over := true
	defer func() {
		if over {
			s.drill.release()
		}
	}()
	if w.delay {
		s.delayed.Add(1)
		if f := s.drill.wait(ctx, s.pause(w)); f != nil {
			req.Body.Close()
			return nil, f
		}
		w.abort = w.abort && s.drill.runs(time.Now()) // it may have been stopped meanwhile
	}
	if w.abort && s.abort.early() {
		s.aborted.Add(1)
		req.Body.Close()
		return s.abort.answer(req)
	}
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if w.delay {
		resp.Header.AddID(stream.ProxyStatus, noteDelay)
	}
	if w.abort {
		over = !s.abort.spoil(ctx, resp, s.drill, func() { s.aborted.Add(1) })
	}
	return resp, nil
}

// pause is how long the request waits.
func (s *service) pause(w wish) time.Duration {
	if w.pause > 0 {
		return min(w.pause, time.Duration(s.delay.Max))
	}
	return s.delay.pause(s.dice)
}

// note counts what would have been, and writes a line of it once a second.
func (s *service) note(req *stream.Request, w wish, now time.Time) {
	kinds := ""
	if w.delay {
		s.delayed.Add(1)
		kinds = byDelay
	}
	if w.abort {
		s.aborted.Add(1)
		if kinds != "" {
			kinds += ","
		}
		kinds += s.abort.kind
	}
	last := s.logged.Load()
	if now.UnixNano()-last < int64(time.Second) || !s.logged.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	s.log.Info("a fault would have been injected; the counter has all of them, the log one a second", "kinds", kinds, "request_id", req.ID)
}
