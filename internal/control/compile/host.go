package compile

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/weirproxy/weir/config"
)

// parseHost reads a host of a match, lower case: a name, "*.name", "*", or an
// address (IPv6 in brackets).
func parseHost(text string) (string, error) {
	host := strings.ToLower(text)
	switch {
	case host == "":
		return "", errors.New("it is empty")
	case host == "*":
		return host, nil
	case strings.Contains(host, "://"):
		return "", errors.New("a host has no scheme")
	case strings.Contains(host, "/"):
		return "", errors.New("a host has no path")
	case strings.HasPrefix(host, "["):
		return parseIPv6Host(host)
	case strings.Count(host, ":") > 1:
		return "", errors.New("an IPv6 address stands in brackets: [::1]")
	case strings.Contains(host, ":"):
		return "", errors.New("a host has no port: the listener has it")
	case strings.HasSuffix(host, "."):
		return "", errors.New("a host has no dot at its end")
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	if strings.Contains(name, "*") {
		return "", errors.New("a wildcard is the whole first label: *.example.com")
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if wildcard {
			return "", errors.New("an address has no wildcard")
		}
		return addr.String(), nil
	}
	return host, checkName(name)
}

func parseIPv6Host(host string) (string, error) {
	inner, closed := strings.CutSuffix(host[1:], "]")
	addr, err := netip.ParseAddr(inner)
	if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", errors.New("it is no IPv6 address in brackets")
	}
	return "[" + addr.String() + "]", nil
}

// hosts parses the hosts of a match.
func hosts(texts []string, r *config.Report) []string {
	var list []string
	seen := map[string]bool{}
	for i, text := range texts {
		host, err := parseHost(text)
		switch {
		case err != nil:
			r.Errorf(index("hosts", i), "write a.example.com, *.example.com or *", "host %q: %v", text, err)
			continue
		case seen[host]:
			r.Warnf(index("hosts", i), "remove it", "host %q stands there twice", text)
			continue
		}
		seen[host] = true
		list = append(list, host)
	}
	if seen["*"] && len(list) > 1 {
		r.Warnf("hosts", `remove the others or "*"`, `"*" covers the other hosts of the route`)
	}
	return list
}

// replacementHost checks a host that is written into requests or locations.
func replacementHost(text, path string, r *config.Report) {
	if text == "" {
		return
	}
	name := text
	if p, err := parseHostPort(text); err == nil {
		name = p.host
		if p.addr.IsValid() {
			return
		}
	}
	if host, err := parseHost(name); err != nil {
		r.Errorf(path, "write a name such as a.example.com", "host %q: %v", text, err)
	} else if strings.HasPrefix(host, "*") {
		r.Errorf(path, "write one name", "host %q is a wildcard", text)
	}
}
