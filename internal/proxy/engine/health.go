package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/admin"
	"github.com/weirproxy/weir/internal/proxy/health"
	"github.com/weirproxy/weir/internal/proxy/record"
)

// checkHealth starts the active checks of the cluster, if it has any.
func (u *upstream) checkHealth() error {
	spec := u.spec.Spec.Health
	if spec == nil {
		return nil
	}
	cfg := health.Config{Spec: *spec, Password: u.spec.HealthPassword, Dial: u.dialCheck(spec.Type), OnChange: u.healthEvent, OnGood: u.cluster.CheckPassed}
	switch {
	case spec.Type == "postgres":
		cfg.Plain, cfg.Secure = u.dialPlain, u.secureCheck()
	case spec.Type == "grpc", spec.Type == "http" && !u.speaksHTTP1():
		cfg.Call = u.call
	}
	checker, err := health.New(cfg)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", u.spec.Spec.Name, err)
	}
	u.checker = checker
	u.background(checker.Run)
	return nil
}

// dialCheck connects for checks of a type, in TLS when the cluster speaks it.
func (u *upstream) dialCheck(kind string) health.Dial {
	if kind == "tls" && u.tls != nil {
		anew := u.tls.Anew()
		return func(ctx context.Context, ep *endpoint.Endpoint) (net.Conn, error) {
			nc, err := u.dialPlain(ctx, ep)
			if err != nil {
				return nil, err
			}
			nc, _, err = anew.Handshake(ctx, nc, ep.Host)
			return nc, err
		}
	}
	var protos []string
	if kind == "http" {
		protos = []string{protoHTTP1}
	}
	return func(ctx context.Context, ep *endpoint.Endpoint) (net.Conn, error) {
		nc, _, err := u.connect(ctx, ep, time.Time{}, nil, protos...)
		return nc, err
	}
}

// dialPlain connects without TLS, for checks that begin it themselves.
func (u *upstream) dialPlain(ctx context.Context, ep *endpoint.Endpoint) (net.Conn, error) {
	return u.connectPlain(ctx, ep, u.connectBy(time.Time{}), nil)
}

// secureCheck begins TLS on a connection; nil when the cluster has none.
func (u *upstream) secureCheck() func(ctx context.Context, nc net.Conn, ep *endpoint.Endpoint) (net.Conn, error) {
	if u.tls == nil {
		return nil
	}
	return func(ctx context.Context, nc net.Conn, ep *endpoint.Endpoint) (net.Conn, error) {
		secured, _, err := u.tls.Handshake(ctx, nc, ep.Host)
		return secured, err
	}
}

// speaksHTTP1 tells whether every endpoint takes HTTP/1.1.
func (u *upstream) speaksHTTP1() bool {
	protocol := u.spec.Spec.Protocol
	return protocol == "h1" || protocol == "auto" && u.tls == nil
}

// compareEndpoints looks for endpoints that are not like the others, if the
// document asks for it.
func (u *upstream) compareEndpoints() {
	if u.cluster.Compares() {
		u.background(u.cluster.Compare)
	}
}

// healthEvent writes down a change of the health of an endpoint: for the log, the
// metrics and the admin pages.
func (u *upstream) healthEvent(ev endpoint.Event) {
	u.journal.Add(ev)
	level := slog.LevelInfo
	if ev.To == endpoint.Unfit || ev.To == endpoint.Ejected {
		level = slog.LevelWarn
	}
	facts := []slog.Attr{
		slog.String("cluster", u.spec.Spec.Name), slog.String("endpoint", ev.Address), slog.String("health", ev.To.String()),
		slog.String("was", ev.From.String()), slog.String("event", ev.Kind.String()), slog.String("cause", ev.Cause.String()), slog.String("reason", ev.Reason),
	}
	if !ev.Until.IsZero() {
		facts = append(facts, slog.Time("until", ev.Until))
	}
	u.engine.log.LogAttrs(u.ctx, level, "the health of an endpoint changed", facts...)
}

// healthSamples count these changes.
func (u *upstream) healthSamples(emit func(record.Sample), name string) {
	u.journal.Each(func(kind endpoint.EventKind, cause endpoint.Cause, times int64) {
		healthEvents.sample(emit, float64(times), "cluster", name, "event", kind.String(), "cause", cause.String())
	})
}

// viewEvents are the last changes of one cluster, or of all, the newest first. ok
// is false when there is no such cluster.
func (e *Engine) viewEvents(cluster string) (events []admin.Event, ok bool) {
	g := e.running.Load()
	if g == nil {
		return nil, cluster == ""
	}
	if _, there := g.upstreams[cluster]; !there && cluster != "" {
		return nil, false
	}
	events = []admin.Event{}
	for name, u := range g.upstreams {
		if cluster != "" && cluster != name {
			continue
		}
		for _, ev := range u.journal.Events() {
			events = append(events, admin.Event{
				At: ev.At, Cluster: name, Endpoint: ev.Address, Event: ev.Kind.String(),
				From: ev.From.String(), To: ev.To.String(), Cause: ev.Cause.String(), Reason: ev.Reason, Until: ev.Until,
			})
		}
	}
	slices.SortStableFunc(events, func(a, b admin.Event) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Cluster, b.Cluster))
	})
	return events, true
}
