package engine

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/proxy/health"
)

// checkHealth starts the active checks of the cluster, if it has any.
func (u *upstream) checkHealth() error {
	spec := u.spec.Spec.Health
	if spec == nil {
		return nil
	}
	cfg := health.Config{Spec: *spec, Password: u.spec.HealthPassword, Dial: u.dialCheck(spec.Type), OnChange: u.healthChanged}
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

func (u *upstream) healthChanged(c health.Change) {
	state := "unfit"
	if c.Fit {
		state = "fit"
	}
	u.engine.log.Info("the health of an endpoint changed", "cluster", u.spec.Spec.Name, "endpoint", c.Endpoint.Address, "health", state, "reason", c.Reason)
}
