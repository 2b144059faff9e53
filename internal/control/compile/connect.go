package compile

import (
	"slices"

	"github.com/weirproxy/weir/config"
)

// checkConnect looks at a route for CONNECT. One with target is a proxy for
// whoever reaches it, so what it permits must be written.
func checkConnect(spec *config.Route, r *config.Report) {
	connect := spec.Connect
	if !connect.Target {
		if connect.AllowPrivate {
			r.Warnf("connect.allow_private", "remove it, or write target: true", "allow_private has no effect without target: the tunnel goes to an endpoint of the cluster")
		}
		if !slices.Equal(connect.Ports, config.Default[config.Connect]().Ports) {
			r.Warnf("connect.ports", "remove it, or write target: true", "ports has no effect without target: the tunnel goes to an endpoint of the cluster")
		}
		return
	}
	switch hosts := spec.Match.Hosts; {
	case len(hosts) == 0:
		r.Errorf("connect.target", "add match: {hosts: [...]} with the names that clients may ask for",
			"connect.target needs match.hosts: without it, clients could ask for any host")
	case slices.Contains(hosts, "*") && len(spec.Match.Clients) == 0 && spec.ClientCertificate != "require":
		r.Warnf(index("match.hosts", slices.Index(hosts, "*")), "write the names that clients may ask for, or add match.clients or client_certificate: require",
			`host "*" with connect.target is an open proxy: clients may ask for any host`)
	}
	if len(connect.Ports) == 0 {
		r.Errorf("connect.ports", "write ports: [443]", "connect.ports is empty: clients could ask for no port")
	}
	checkPorts(connect.Ports, "connect.ports", r)
}

// checkPorts returns ports, of which each is one.
func checkPorts(ports []int, path string, r *config.Report) (list []uint16) {
	for i, port := range ports {
		if port < 1 || port > 65535 {
			r.Errorf(index(path, i), "write a number from 1 to 65535", "%d is no port", port)
			continue
		}
		list = append(list, uint16(port))
	}
	return list
}
