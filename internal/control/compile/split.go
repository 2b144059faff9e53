package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
)

// sides are the conditions of the sides of a split; nil when no side has any.
func (c *compiler) sides(spec *config.Route, r *config.Report) []*snapshot.Match {
	var compiled []*snapshot.Match
	for i := range spec.To {
		written := spec.To[i].Match
		if written == nil {
			continue
		}
		at := index("to", i) + ".match"
		if len(written.Headers)+len(written.Query)+len(written.Cookies)+len(written.Clients)+len(written.Claims) == 0 && written.Geo == nil {
			r.Errorf(at, "write headers, query, cookies, clients, claims or geo, or remove it", "match has no condition: every request would take this side")
		}
		m := match(&config.Match{Headers: written.Headers, Query: written.Query, Cookies: written.Cookies, Clients: written.Clients}, r.Below(at))
		m.Geo = written.Geo
		c.checkGeoMatch(m.Geo, r.Below(at+".geo"))
		m.Claims = values(written.Claims, "claims", r.Below(at), checkClaimName)
		if compiled == nil {
			compiled = make([]*snapshot.Match, len(spec.To))
		}
		compiled[i] = &m
	}
	return compiled
}

// checkSplit looks at what decides between the sides of a route.
func checkSplit(spec *config.Route, r *config.Report) {
	alone := len(spec.To) == 1 && spec.Canary == nil
	for i := range spec.To {
		if spec.To[i].Match != nil && alone {
			r.Warnf(index("to", i)+".match", "add a side for the other requests, or move the conditions to match of the route",
				"match has no effect with one cluster: all requests take it")
		}
	}
	split := &spec.Split
	if split.Issue != nil {
		checkIssue(split, r)
	}
	if split.Key == "" {
		return
	}
	if _, err := requestkey.Parse(split.Key); err != nil {
		r.Errorf("split.key", "", "split: %v", err)
	} else if alone {
		r.Warnf("split", "remove it", "split has no effect with one cluster")
	}
}

// checkIssue: a value can be issued where the client gives it back by itself.
func checkIssue(split *config.Split, r *config.Report) {
	below := r.Below("split.issue")
	if !strings.HasPrefix(split.Key, "cookie:") {
		r.Errorf("split.issue", "write key: cookie:NAME, or remove issue", "a value is issued in a cookie, and the key is %q", split.Key)
	}
	c := split.Issue
	if c.TTL <= 0 {
		below.Errorf("ttl", "write for example 30d", "ttl is 0: the client would forget its side at once")
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, ";\r\n\t \"") {
		below.Errorf("path", "write a path such as /", "path %q cannot stand in a cookie", c.Path)
	}
	if c.SameSite == "none" && c.Secure != "always" {
		below.Errorf("same_site", "write secure: always", "browsers drop a cookie with same_site none that is not secure")
	}
}
