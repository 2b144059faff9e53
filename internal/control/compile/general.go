package compile

import (
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/geo"
	"github.com/weirproxy/weir/internal/logline"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/statusset"
)

// general is the parts of a document that stand there once.
type general struct {
	admin     config.Admin
	accessLog config.AccessLog
	metrics   config.Metrics
	redact    config.Redact
	geo       config.Geo
	places    *geo.Database
	overload  config.Overload
	drain     config.Drain
	held      []string
}

func (c *compiler) compileGeneral() {
	g := &c.general
	g.admin, g.accessLog, g.metrics = c.doc.Admin, c.doc.AccessLog, c.doc.Metrics
	g.redact, g.geo, g.overload, g.drain = c.doc.Redact, c.doc.Geo, c.doc.Overload, c.doc.Drain
	for _, part := range []struct {
		name  string
		check func(*config.Report)
	}{
		{"admin", c.checkAdmin},
		{"access_log", c.checkAccessLog},
		{"metrics", c.checkMetrics},
		{"redact", c.checkRedact},
		{"geo", c.checkGeo},
		{"overload", c.checkOverload},
		{"drain", c.checkDrain},
	} {
		clean := true
		part.check(config.NewReport(part.name, c.doc.At, &c.problems).Below(part.name).Watch(&clean))
		if !clean {
			g.hold(part.name, c.previous)
		}
	}
}

// hold puts the last good version of a part in its place. At the start, where
// there is none, the error refuses the whole anyway.
func (g *general) hold(part string, last *snapshot.Snapshot) {
	switch part {
	case "admin":
		g.admin = last.Admin
	case "access_log":
		g.accessLog = last.AccessLog
	case "metrics":
		g.metrics = last.Metrics
	case "redact":
		g.redact = last.Redact
	case "geo":
		g.geo, g.places = last.Geo, last.Places
	case "overload":
		g.overload = last.Overload
	case "drain":
		g.drain = last.Drain
	default:
		return
	}
	g.held = append(g.held, part)
}

// holdUnwritten holds the parts that no readable document writes: they may
// stand in the one that is unknown.
func (g *general) holdUnwritten(last *snapshot.Snapshot) {
	defaults := config.Default[config.Document]()
	for _, part := range []struct {
		name           string
		now, none, was any
	}{
		{"admin", g.admin, defaults.Admin, last.Admin},
		{"access_log", g.accessLog, defaults.AccessLog, last.AccessLog},
		{"metrics", g.metrics, defaults.Metrics, last.Metrics},
		{"redact", g.redact, defaults.Redact, last.Redact},
		{"geo", g.geo, defaults.Geo, last.Geo},
		{"overload", g.overload, defaults.Overload, last.Overload},
		{"drain", g.drain, defaults.Drain, last.Drain},
	} {
		if reflect.DeepEqual(part.now, part.none) && !reflect.DeepEqual(part.now, part.was) {
			g.hold(part.name, last)
		}
	}
}

func (c *compiler) checkAdmin(r *config.Report) {
	admin := &c.general.admin
	if admin.Address == "off" {
		return
	}
	place, err := parseListen(admin.Address)
	if err != nil {
		r.Errorf("address", "write host:port, unix:/path or off", "admin address %q: %v", admin.Address, err)
		return
	}
	if place.network == "unix" || place.loopback() {
		return
	}
	if !admin.AllowRemote {
		r.Errorf("address", "write 127.0.0.1, a unix:/path, or allow_remote: true if a firewall protects it",
			"admin address %q can be reached from other machines, and the admin pages have no login", admin.Address)
		return
	}
	r.Warnf("address", "make sure that only operators reach it",
		"admin address %q can be reached from other machines, and the admin pages have no login", admin.Address)
}

// loopback tells whether only this machine reaches the place.
func (p place) loopback() bool {
	return p.host == "localhost" || p.addr.IsValid() && p.addr.IsLoopback()
}

func (c *compiler) checkAccessLog(r *config.Report) {
	log := &c.general.accessLog
	if log.To == "" {
		r.Errorf("to", "write stdout, stderr, off or the path of a file", "access_log.to is empty")
	}
	switch log.Format {
	case "json":
		if log.Template != "" && log.Template != logline.DefaultTemplate {
			r.Warnf("template", "write format: text, or remove the template", "the template is not used with format json")
		}
	case "text":
		checkLogTemplate(log.Template, r)
	}
	for _, part := range []struct {
		path   string
		status []string
	}{{"always.status", log.Always.Status}, {"only.status", log.Only.Status}} {
		for i, status := range part.status {
			if !statusset.Valid(status) {
				r.Errorf(index(part.path, i), "write a code or a class: 404, 5xx", "%q is no status", status)
			}
		}
	}
	for i, name := range log.Headers {
		checkToken(r, index("headers", i), "header name", name)
	}
}

func checkLogTemplate(template string, r *config.Report) {
	if template == "" { // the default one
		return
	}
	if err := logline.Validate(template); err != nil {
		r.Errorf("template", "", "access_log.%v", err)
	}
}

func (c *compiler) checkMetrics(r *config.Report) {
	unusual(r, "max_series", c.general.metrics.MaxSeries, 1_000_000)
}

func (c *compiler) checkRedact(r *config.Report) {
	for i, name := range c.general.redact.Headers {
		checkToken(r, index("headers", i), "header name", name)
	}
	for i, name := range c.general.redact.Query {
		if name == "" {
			r.Errorf(index("query", i), "write the name of a parameter", "the name of a query parameter is empty")
		}
	}
}

// busyDelay is what a goroutine may wait for a processor while all is well: the
// runtime lets others run for 10 ms, and so may the system.
const busyDelay = 20 * time.Millisecond

func (c *compiler) checkOverload(r *config.Report) {
	o := &c.general.overload
	if o.Memory > 0 {
		atLeast(r, "memory", o.Memory, 32<<20)
	}
	if o.Tighten <= 0 || o.Tighten > o.Shed || o.Shed > o.Refuse {
		r.Errorf("tighten", "write for example tighten: 0.8, shed: 0.9, refuse: 0.95",
			"tighten (%v), shed (%v) and refuse (%v) are not above 0 and one after the other", o.Tighten, o.Shed, o.Refuse)
	}
	if o.Shorten <= 0 {
		r.Errorf("shorten", "write a share like 0.7", "shorten is %v, so that idle connections would always be closed early", o.Shorten)
	}
	if o.Reset <= 0 {
		r.Errorf("reset", "write a share like 0.97", "reset is %v, so that exchanges would always be reset", o.Reset)
	}
	if _, err := requestkey.Parse(o.Tenant); err != nil {
		r.Errorf("tenant", "write tenant: client, or a key that clients cannot choose", "%v", err)
	}
	c.checkKey(o.Tenant, "tenant", true, r) // routes with a filter jwt know claims
	if d := time.Duration(o.MaxDelay); d > 0 && d < busyDelay {
		r.Warnf("max_delay", "write 100ms or more", "max_delay is %v, which a process that is only busy exceeds", d)
	}
	if !o.Enabled {
		r.Warnf("enabled", "remove it", "the process takes what comes until the system ends it")
	}
}

func (c *compiler) checkDrain(r *config.Report) {
	if c.general.drain.Grace == 0 {
		r.Warnf("grace", "write some seconds, so that requests under way end", "grace is 0: a stop cuts every request off")
	}
}

// prefixes parses address ranges; an address alone is a range of one.
func prefixes(r *config.Report, path string, texts []string) []netip.Prefix {
	var list []netip.Prefix
	for i, text := range texts {
		prefix, ok := parsePrefix(text)
		if !ok {
			r.Errorf(index(path, i), "write a range like 10.0.0.0/8 or an address", "%q is no address range", text)
			continue
		}
		if masked := prefix.Masked(); masked != prefix {
			r.Warnf(index(path, i), "write "+masked.String(), "%q has bits set behind its length", text)
			prefix = masked
		}
		list = append(list, prefix)
	}
	return list
}

// parsePrefix reads a range or an address. The IPv6 form of an IPv4 range
// (::ffff:10.0.0.0/104) is the IPv4 range: clients are compared in that form
// (CVE-2024-24790).
func parsePrefix(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96), true
	}
	return prefix, true
}
