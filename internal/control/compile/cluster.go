package compile

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

func (c *compiler) cluster(spec *config.Cluster, r *config.Report) *snapshot.Cluster {
	compiled := &snapshot.Cluster{Spec: *spec, Endpoints: endpoints(spec, r)}
	checkDNS(spec, r)
	needed(r, "connect_timeout", spec.ConnectTimeout)
	needed(r, "body_idle", spec.BodyIdle)
	atLeast(r, "limits.max_header_bytes", spec.Limits.MaxHeaderBytes, 512)
	unusual(r, "limits.max_header_bytes", spec.Limits.MaxHeaderBytes, 1<<20)
	if spec.RetryBudget.Ratio > 0.5 {
		r.Warnf("retry_budget.ratio", "write 0.2", "a budget of %v lets retries multiply the load of a service that fails", spec.RetryBudget.Ratio)
	}
	checkClusterProtocol(spec, r)
	checkBalancing(spec, r)
	if spec.Health != nil {
		compiled.HealthPassword = c.health(spec, r.Below("health"))
	}
	checkEjection(&spec.Ejection, r.Below("ejection"))
	checkGates(spec, r)
	if spec.TLS != nil {
		compiled.TLS = c.clusterTLS(spec, r.Below("tls"))
	}
	return compiled
}

func endpoints(spec *config.Cluster, r *config.Report) []snapshot.Endpoint {
	switch {
	case len(spec.Endpoints) == 0 && spec.DNS == nil:
		r.Errorf("", "add endpoints: [host:port] or dns: {srv: NAME}", "cluster %q has no endpoints", spec.Name)
	case len(spec.Endpoints) > 0 && spec.DNS != nil:
		r.Errorf("dns", "keep one, or make two clusters", "cluster %q has endpoints and dns", spec.Name)
	}
	var list []snapshot.Endpoint
	seen := map[string]bool{}
	sum := 0
	for i := range spec.Endpoints {
		endpoint := &spec.Endpoints[i]
		at := index("endpoints", i)
		p, err := parseDial(endpoint.Address)
		if err != nil {
			r.Errorf(at, endpointFix(endpoint.Address), "endpoint %q: %v", endpoint.Address, err)
			continue
		}
		if seen[p.String()] {
			r.Errorf(at, "write it once, with a weight", "endpoint %q stands there twice", endpoint.Address)
		}
		seen[p.String()] = true
		sum += max(0, endpoint.Weight)
		list = append(list, snapshot.Endpoint{
			Network: p.network, Host: p.host, Port: p.port, Weight: endpoint.Weight,
			Priority: endpoint.Priority, Zone: endpoint.Zone, Labels: endpoint.Labels,
		})
	}
	if len(list) > 0 && sum == 0 {
		r.Errorf("endpoints", "give one endpoint a weight above 0", "all weights are 0: no request could go anywhere")
	}
	return list
}

func endpointFix(text string) string {
	if strings.HasPrefix(text, "https://") {
		return "write host:port, and add tls: {} to the cluster"
	}
	return "write host:port, [ipv6]:port or unix:/path"
}

func checkDNS(spec *config.Cluster, r *config.Report) {
	if spec.DNS != nil {
		if err := checkName(spec.DNS.SRV); err != nil {
			r.Errorf("dns.srv", "write a name such as _http._tcp.api.example.com", "srv %q: %v", spec.DNS.SRV, err)
		} else if !strings.HasPrefix(spec.DNS.SRV, "_") {
			r.Warnf("dns.srv", "write a name such as _http._tcp.api.example.com", "%q does not look like the name of SRV records", spec.DNS.SRV)
		}
	}
	for i, server := range spec.Resolver.Servers {
		at := index("resolver.servers", i)
		if p, err := parseDial(server); err != nil {
			r.Errorf(at, "write address:port, such as 10.0.0.2:53", "name server %q: %v", server, err)
		} else if !p.addr.IsValid() {
			r.Errorf(at, "write address:port, such as 10.0.0.2:53", "name server %q is not an address", server)
		}
	}
	needed(r, "resolver.max_ttl", spec.Resolver.MaxTTL)
	if spec.Resolver.MinTTL > spec.Resolver.MaxTTL {
		r.Errorf("resolver.min_ttl", "make it shorter than max_ttl", "min_ttl (%s) is longer than max_ttl (%s)", spec.Resolver.MinTTL, spec.Resolver.MaxTTL)
	}
}

func (c *compiler) clusterTLS(spec *config.Cluster, r *config.Report) *snapshot.ClusterTLS {
	t := &snapshot.ClusterTLS{}
	own := spec.TLS
	if own.Verify == "off" {
		r.Warnf("verify", "give the CA of the endpoints: ca: {file: PATH}",
			"the certificates of cluster %q are not verified: whoever is on the way can read and change its traffic", spec.Name)
		if own.CA != nil || len(own.SANs) > 0 {
			r.Warnf("verify", "remove verify: off", "ca and sans are not used with verify off")
		}
	}
	if own.CA != nil {
		t.CA = c.bundle(own.CA, &spec.Origin, r, "ca")
	}
	if own.ServerName != "" {
		if err := checkServerName(own.ServerName); err != nil {
			r.Errorf("server_name", "write a name such as api.example.com", "server_name %q: %v", own.ServerName, err)
		}
	}
	for i, san := range own.SANs {
		if err := checkSAN(san); err != nil {
			r.Errorf(index("sans", i), "write a DNS name or spiffe://domain/path", "san %q: %v", san, err)
		}
	}
	if own.Certificate != nil {
		pair := c.keyPair(own.Certificate, &spec.Origin, r.Below("certificate"), role{
			pos: spec.At("tls.certificate"), running: c.lastClientPair(spec.Name),
		})
		t.Cert = &pair
	}
	return t
}

func (c *compiler) lastClientPair(name string) []snapshot.KeyPair {
	if k := c.clusters.previous[name]; k != nil && k.TLS != nil && k.TLS.Cert != nil {
		return []snapshot.KeyPair{*k.TLS.Cert}
	}
	return nil
}

// checkServerName: SNI is a name; the certificate may also be one for an address.
func checkServerName(name string) error {
	host, err := parseHost(name)
	if err == nil && strings.HasPrefix(host, "*") {
		return fmt.Errorf("a wildcard is not a name")
	}
	return err
}

func checkSAN(san string) error {
	id, spiffe := strings.CutPrefix(san, "spiffe://")
	if !spiffe {
		return checkName(strings.TrimPrefix(san, "*."))
	}
	domain, _, _ := strings.Cut(id, "/")
	if err := checkName(domain); err != nil {
		return err
	}
	if strings.ContainsAny(id, "?# \\%") || strings.Contains(id, "//") || strings.HasSuffix(id, "/") {
		return fmt.Errorf("it is no SPIFFE id")
	}
	return nil
}
