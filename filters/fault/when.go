package fault

import (
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// What the conditions may hold.
const (
	maxHeaders = 20
	maxClients = 100
	maxRegex   = 1 << 10
)

// conditions is When, compiled. The meaning of each part is that of a route's
// match.
type conditions struct {
	headers []headerCondition
	clients []netip.Prefix
}

type headerCondition struct {
	config.ValueMatch
	regex *regexp.Regexp
}

func (c *conditions) hold(req *stream.Request) bool {
	for i := range c.headers {
		h := &c.headers[i]
		value, present := requestkey.Header(&req.Header, h.Name)
		if h.holds(value, present) == h.Not {
			return false
		}
	}
	return len(c.clients) == 0 || c.holdsClient(requestkey.Client(req))
}

func (c *conditions) holdsClient(client netip.Addr) bool {
	for _, p := range c.clients {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// holds is the condition without not.
func (h *headerCondition) holds(value string, present bool) bool {
	switch {
	case h.Absent || !present:
		return h.Absent && !present
	case h.Exact != nil:
		return value == *h.Exact
	case h.Prefix != nil:
		return strings.HasPrefix(value, *h.Prefix)
	}
	return h.regex == nil || h.regex.MatchString(value)
}

// conditions compiles; what cannot be is reported.
func (w *When) conditions(report *config.Report) (c conditions) {
	if n := len(w.Headers); n > maxHeaders {
		report.Errorf("headers", "match on less, or make a route of its own for it", "%d conditions, more than %d", n, maxHeaders)
		return c
	}
	if n := len(w.Clients); n > maxClients {
		report.Errorf("clients", "join the ranges, or make a route of its own for them", "%d ranges, more than %d", n, maxClients)
		return c
	}
	for i := range w.Headers {
		h := headerCondition{ValueMatch: w.Headers[i]}
		h.compile(report.Below(fmt.Sprintf("headers[%d]", i)))
		c.headers = append(c.headers, h)
	}
	for i, text := range w.Clients {
		p, good := parseRange(text)
		if !good {
			report.Errorf(fmt.Sprintf("clients[%d]", i), "write a range like 10.0.0.0/8 or an address", "%q is no address range", text)
		}
		c.clients = append(c.clients, p.Masked())
	}
	return c
}

func (h *headerCondition) compile(report *config.Report) {
	checkHeader(report, "name", h.Name)
	n := 0
	for _, given := range []bool{h.Exact != nil, h.Prefix != nil, h.Regex != nil, h.Absent} {
		if given {
			n++
		}
	}
	if n > 1 {
		report.Errorf("", "keep one, or write two entries: all of them must hold", "%q has %d of exact, prefix, regex and absent", h.Name, n)
	}
	if h.Regex == nil {
		return
	}
	// By itself first: "a)|(b" is only sound inside of the parentheses below.
	_, err := syntax.Parse(*h.Regex, syntax.Perl)
	if err == nil {
		h.regex, err = regexp.Compile(`\A(?:` + *h.Regex + `)\z`)
	}
	switch {
	case len(*h.Regex) > maxRegex:
		report.Errorf("regex", "make it shorter", "the regex has %d bytes, more than %d", len(*h.Regex), maxRegex)
	case err != nil:
		report.Errorf("regex", "the syntax is RE2: https://github.com/google/re2/wiki/Syntax", "regex %q: %s",
			*h.Regex, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

func (w *When) checkTime(report *config.Report) {
	if w.From != nil && w.Until != nil && !time.Time(*w.Until).After(time.Time(*w.From)) {
		report.Errorf("until", "write a later time", "it ends before it begins")
	}
}

// parseRange reads a range or an address. The IPv6 form of an IPv4 range is the
// IPv4 range: clients are compared in that form.
func parseRange(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), err == nil && addr.Zone() == ""
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), p.Bits() >= 96
	}
	return p, err == nil
}
