package engine

import (
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// Phases without a clock are the class of CVE-2026-56853 and CVE-2026-25949:
// every phase has a limit, and it is the one that the document names. A new
// phase fails here until somebody says what limits it.
func TestEveryPhaseHasItsLimit(t *testing.T) {
	const second = time.Second
	timeouts := config.ListenerTimeouts{
		Handshake: config.Duration(1 * second), Idle: config.Duration(2 * second), Head: config.Duration(3 * second),
		BodyIdle: config.Duration(4 * second), WriteIdle: config.Duration(5 * second), TunnelIdle: config.Duration(6 * second),
		Hello: config.Duration(9 * second), MinRate: 7,
	}
	cluster := config.Cluster{BodyIdle: config.Duration(8 * second)}
	rate := stream.PhaseLimit{MinRate: 7, Grace: rateGrace}
	downstream := map[stream.Phase]stream.PhaseLimit{
		stream.PhaseProxyHeader: {Ceiling: 9 * second},
		stream.PhaseHello:       {Ceiling: 9 * second},
		stream.PhasePreface:     {Ceiling: 3 * second},
		stream.PhaseHandshake:   {Ceiling: 1 * second},
		stream.PhaseIdle:        {Ceiling: 2 * second, Floor: idleFloor},
		stream.PhaseHead:        {Ceiling: 3 * second},
		stream.PhaseBody:        {Idle: 4 * second, MinRate: rate.MinRate, Grace: rate.Grace},
		stream.PhaseWait:        {Ceiling: waitCeiling}, // the timeout of the route ends it
		stream.PhaseWrite:       {Idle: 5 * second, MinRate: rate.MinRate, Grace: rate.Grace},
		stream.PhaseTunnel:      {Idle: 6 * second, Floor: tunnelFloor},
		stream.PhaseLinger:      {Ceiling: lingerCeiling},
	}
	upstream := map[stream.Phase]stream.PhaseLimit{
		stream.PhaseUpstreamSend: {Idle: 8 * second},
		stream.PhaseUpstreamHead: {Ceiling: waitCeiling}, // the deadline of the attempt ends it
		stream.PhaseUpstreamBody: {Idle: 8 * second},
	}
	down, up := phasesOf(&timeouts), upstreamPhases(&cluster)
	for p := range stream.NumPhases {
		want, got := downstream[p], down[p]
		if p >= stream.PhaseUpstreamSend {
			want, got = upstream[p], up[p]
		}
		switch {
		case want == stream.PhaseLimit{}:
			t.Errorf("phase %s: nobody has said what limits it", p)
		case got != want:
			t.Errorf("phase %s has the limit %+v, want %+v", p, got, want)
		}
	}
	if missing := down.Missing(); len(missing) > 0 {
		t.Errorf("downstream phases without any limit: %v", missing)
	}
	if missing := up.Missing(); len(missing) > 0 {
		t.Errorf("upstream phases without any limit: %v", missing)
	}
}

// The defaults leave no phase open, and none but a backstop open for long.
func TestEveryPhaseIsLimitedByDefault(t *testing.T) {
	timeouts, cluster := config.Default[config.ListenerTimeouts](), config.Default[config.Cluster]()
	down, up := phasesOf(&timeouts), upstreamPhases(&cluster)
	for name, limits := range map[string]*stream.PhaseLimits{"downstream": &down, "upstream": &up} {
		if missing := limits.Missing(); len(missing) > 0 {
			t.Errorf("%s phases without a limit: %v", name, missing)
		}
		for p, l := range limits {
			if l.Idle > 5*time.Minute || l.Ceiling > 5*time.Minute && l.Ceiling != waitCeiling {
				t.Errorf("%s phase %s may last %v without progress, %v in all", name, stream.Phase(p), l.Idle, l.Ceiling)
			}
		}
	}
}
