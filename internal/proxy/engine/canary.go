package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/internal/proxy/record"
)

// controller is that of a route, which outlives generations as long as this part
// of the document stays as it is: a reload must not begin a canary anew, and not
// give a share back to one that was rolled back. Over restarts it is e.canaries
// that remembers.
func (e *Engine) controller(t *tenancy, spec *config.Route) (*canary.Controller, error) {
	c := spec.Canary
	definition, err := definitionOf(c)
	if err != nil {
		return nil, err
	}
	place := keptKey{spec.Name, "", "canary " + definition}
	t.keeps = append(t.keeps, place)
	log := e.log.With("route", spec.Name, "canary", c.Side())
	return e.lodging.keep(place, func() any {
		return e.canaries.controller(spec.Name, definition, canary.Config{
			Steps: c.Steps, Hold: time.Duration(c.Hold), MinRequests: int64(c.MinRequests), Tolerate: c.Tolerate, MaxErrors: c.MaxErrors,
			SlowQuantile: c.SlowQuantile, SlowFactor: c.SlowFactor, SlowLeast: time.Duration(c.SlowLeast), FalseAlarm: c.FalseAlarm,
			OnChange: func(s canary.State, _ canary.Saved) {
				log.Warn("a canary changed", "phase", s.Phase, "step", s.Step, "share", s.Share, "reason", s.Reason)
			},
		}, log)
	}).(*canary.Controller), nil
}

// viewCanaries is what the canaries are at, by route.
func (e *Engine) viewCanaries() map[string]canary.State {
	states := map[string]canary.State{}
	if g := e.running.Load(); g != nil {
		for name, svc := range g.services {
			if svc.canary != nil {
				states[name] = svc.canary.State()
			}
		}
	}
	return states
}

// commandCanary carries out what an operator says about the canary of a route.
func (e *Engine) commandCanary(_ context.Context, route, command string) (canary.State, error) {
	g := e.running.Load()
	if g == nil {
		return canary.State{}, errors.New("no generation serves yet")
	}
	svc := g.services[route]
	if svc == nil || svc.canary == nil {
		return canary.State{}, fmt.Errorf("there is no route %q with a canary", route)
	}
	if err := svc.canary.Do(canary.Command(command), time.Now()); err != nil {
		return canary.State{}, err
	}
	return svc.canary.State(), nil
}

var (
	canaryShare    = gauge("weir_canary_share", "Share of the requests that the canary of a route gets now.")
	canaryPhase    = gauge("weir_canary_phase", "1 for what has become of the canary of a route.")
	canaryErrors   = gauge("weir_canary_error_ratio", "Share of errors in the present step, by arm.")
	canarySlow     = gauge("weir_canary_slow_ratio", "Share of slow responses in the present step, by arm.")
	canaryRequests = gauge("weir_canary_step_requests", "Requests in the present step, by arm.")
)

// canarySamples are those of every canary.
func (e *Engine) canarySamples(emit func(record.Sample)) {
	for route, s := range e.viewCanaries() {
		canaryShare.sample(emit, s.Share, "route", route)
		for phase := canary.Running; phase <= canary.RolledBack; phase++ {
			value := 0.0
			if phase.String() == s.Phase {
				value = 1
			}
			canaryPhase.sample(emit, value, "route", route, "phase", phase.String())
		}
		for name, arm := range map[string]canary.ArmState{"canary": s.Canary, "baseline": s.Baseline} {
			canaryErrors.sample(emit, arm.Errors, "route", route, "arm", name)
			canarySlow.sample(emit, arm.Slow, "route", route, "arm", name)
			canaryRequests.sample(emit, float64(arm.Requests), "route", route, "arm", name)
		}
	}
}
