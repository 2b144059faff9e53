package compile

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

func (c *compiler) cluster(spec *config.Cluster, r *config.Report) *snapshot.Cluster {
	compiled := &snapshot.Cluster{Spec: *spec, Endpoints: endpoints(spec, r)}
	checkResolver(spec, r)
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
		r.Errorf("dns", "write the name among the endpoints: {srv: NAME}", "cluster %q has endpoints and dns", spec.Name)
	}
	var list []snapshot.Endpoint
	if spec.DNS != nil {
		checkSRV(spec.DNS.SRV, "dns.srv", r)
		list = append(list, snapshot.Endpoint{SRV: true, Host: spec.DNS.SRV, Weight: 1})
	}
	seen := map[string]bool{}
	sum := 0
	for i := range spec.Endpoints {
		endpoint := &spec.Endpoints[i]
		at := index("endpoints", i)
		compiled, name, ok := located(endpoint, at, r)
		if !ok {
			continue
		}
		if seen[name] {
			r.Errorf(at, "write it once, with a weight", "endpoint %q stands there twice", cmp.Or(endpoint.SRV, endpoint.Address))
		}
		seen[name] = true
		sum += max(0, endpoint.Weight)
		compiled.Weight, compiled.Priority, compiled.Zone, compiled.Labels = endpoint.Weight, endpoint.Priority, endpoint.Zone, endpoint.Labels
		list = append(list, compiled)
	}
	if len(spec.Endpoints) > 0 && len(list) > 0 && sum == 0 {
		r.Errorf("endpoints", "give one endpoint a weight above 0", "all weights are 0: no request could go anywhere")
	}
	return list
}

// located is where an endpoint is, and a name that is the same for the same place.
func located(endpoint *config.Endpoint, at string, r *config.Report) (compiled snapshot.Endpoint, name string, ok bool) {
	switch {
	case endpoint.SRV != "" && endpoint.Address != "":
		r.Errorf(at, "keep one", "an endpoint has an address and srv")
		return compiled, "", false
	case endpoint.SRV != "":
		if endpoint.Weight > maxSRVWeight {
			r.Errorf(at+".weight", fmt.Sprintf("write %d or less", maxSRVWeight), "weight is %d: the weights of the records are multiplied by it", endpoint.Weight)
		}
		checkSRV(endpoint.SRV, at+".srv", r)
		return snapshot.Endpoint{SRV: true, Host: endpoint.SRV}, "srv " + strings.ToLower(strings.TrimSuffix(endpoint.SRV, ".")), true
	case endpoint.Address == "":
		r.Errorf(at, "write address: host:port, or srv: NAME", "an endpoint has neither address nor srv")
		return compiled, "", false
	}
	p, err := parseDial(endpoint.Address)
	if err != nil {
		r.Errorf(at, endpointFix(endpoint.Address), "endpoint %q: %v", endpoint.Address, err)
		return compiled, "", false
	}
	return snapshot.Endpoint{Network: p.network, Host: p.host, Port: p.port}, p.String(), true
}

// maxSRVWeight keeps the weight of a record, up to 65535, within what a weight may
// be.
const maxSRVWeight = 16

func checkSRV(name, at string, r *config.Report) {
	const fix = "write a name such as _http._tcp.api.example.com"
	if err := checkName(name); err != nil {
		r.Errorf(at, fix, "srv %q: %v", name, err)
	} else if !strings.HasPrefix(name, "_") {
		r.Warnf(at, fix, "%q does not look like the name of SRV records", name)
	}
}

func endpointFix(text string) string {
	if strings.HasPrefix(text, "https://") {
		return "write host:port, and add tls: {} to the cluster"
	}
	return "write host:port, [ipv6]:port or unix:/path"
}

func checkResolver(spec *config.Cluster, r *config.Report) {
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
