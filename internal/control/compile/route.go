package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/snapshot"
)

func (c *compiler) route(spec *config.Route, r *config.Report) *snapshot.Route {
	compiled := &snapshot.Route{
		Spec:    *spec,
		Match:   match(&spec.Match, r.Below("match")),
		Sides:   c.sides(spec, r),
		Filters: c.filters(spec, r),
	}
	c.checkGeoMatch(spec.Match.Geo, r.Below("match.geo"))
	c.checkKnown(spec, r)
	for i, name := range spec.Listeners {
		if slices.Contains(spec.Listeners[:i], name) {
			r.Warnf(index("listeners", i), "remove it", "listener %q stands there twice", name)
		}
	}
	checkTraffic(spec, r)
	checkAction(spec, r)
	if spec.Connect != nil && trafficOf(spec) == tunnels {
		checkConnect(spec, r)
		needed(r, "timeout", spec.Timeout)
	}
	if len(spec.To) > 0 {
		checkTargets(spec, r)
		checkRetry(spec, r.Below("retry"))
		checkDeadline(spec, r.Below("deadline"))
		checkHedge(spec, r.Below("hedge"))
		checkCanary(spec, r.Below("canary"))
		needed(r, "timeout", spec.Timeout)
	}
	if spec.Rewrite != nil {
		checkRewrite(spec, r.Below("rewrite"))
	}
	if spec.Redirect != nil {
		checkRedirect(spec, r.Below("redirect"))
	}
	if spec.Respond != nil {
		checkRespond(spec.Respond, r.Below("respond"))
	}
	return compiled
}

// checkAction: exactly one of to, redirect, respond and connect.target.
func checkAction(spec *config.Route, r *config.Report) {
	var actions []string
	if len(spec.To) > 0 {
		actions = append(actions, "to")
	}
	if spec.Redirect != nil {
		actions = append(actions, "redirect")
	}
	if spec.Respond != nil {
		actions = append(actions, "respond")
	}
	if spec.Connect != nil && spec.Connect.Target {
		actions = append(actions, "connect.target")
	}
	kind := trafficOf(spec)
	switch {
	case len(actions) == 0:
		r.Errorf("", actionFix(kind), "route %q does nothing with its %s", spec.Name, actionNouns[kind])
	case len(actions) > 1:
		r.Errorf(actions[1], "keep one", "route %q has %s", spec.Name, strings.Join(actions, " and "))
	case kind == requests && actions[0] != "to" && spec.Rewrite != nil:
		r.Warnf("rewrite", "remove it", "rewrite has no effect with %s", actions[0])
	}
}

var actionNouns = map[traffic]string{requests: "requests", tunnels: "tunnels", connections: "connections", sessions: "sessions"}

func actionFix(kind traffic) string {
	switch kind {
	case requests:
		return "add to: [{cluster: NAME}], redirect or respond"
	case tunnels:
		return "add to: [{cluster: NAME}], or connect: {target: true}"
	}
	return "add to: [{cluster: NAME}]"
}

func checkTargets(spec *config.Route, r *config.Report) {
	sum := 0
	seen := map[string]bool{}
	for i, target := range spec.To {
		sum += max(0, target.Weight)
		if seen[target.Side()] {
			r.Errorf(index("to", i)+".cluster", "add its weight to the other", "cluster %q stands there twice", target.Cluster)
		}
		seen[target.Side()] = true
		checkLabels(target.Labels, r, index("to", i)+".labels")
	}
	if sum == 0 {
		r.Errorf("to", "give one cluster a weight above 0", "all weights are 0: no request could go anywhere")
	}
	checkSplit(spec, r)
}

// filters decodes the settings of every filter, over the defaults of each.
func (c *compiler) filters(route *config.Route, r *config.Report) []snapshot.Filter {
	specs := route.Filters
	var list []snapshot.Filter
	var latest filter.Definition // the one with the latest stage so far
	claims := false              // a filter in front finds out whose request it is
	for i := range specs {
		spec := &specs[i]
		path := index("filters", i)
		definition, known := c.in.Filters.Lookup(spec.Name)
		if !known {
			names := c.in.Filters.Names()
			fix := config.Suggest(spec.Name, names)
			if fix == "" {
				fix = "there are " + strings.Join(names, ", ")
			}
			r.Errorf(path, fix, "filter %q is not known", spec.Name)
			continue
		}
		if len(list) > 0 && definition.Stage < latest.Stage {
			r.Warnf(path, "put it before "+latest.Name, "filter %q (%s) stands behind %q (%s)",
				definition.Name, stageNames[definition.Stage], latest.Name, stageNames[latest.Stage])
		}
		if len(list) == 0 || definition.Stage > latest.Stage {
			latest = definition
		}
		settings := definition.Decode(spec.Settings, c.reader(&route.Origin), r.Below(path+"."+spec.Name))
		for _, key := range definition.Keys(settings) {
			c.checkKey(key.Text, path+"."+spec.Name+"."+key.At, claims, r)
		}
		claims = claims || definition.Claims
		compiled := snapshot.Filter{Name: spec.Name, Settings: settings}
		for _, ref := range definition.References(settings) {
			compiled.Clusters = append(compiled.Clusters, ref.Cluster)
		}
		list = append(list, compiled)
	}
	return list
}

// maxFilterFile bounds a file that the settings of a filter refer to.
const maxFilterFile = 16 << 20

// reader reads the files that the settings of filters refer to.
func (c *compiler) reader(origin *config.Origin) filter.Reader {
	return func(path string) ([]byte, error) {
		content, err := c.in.Files(beside(origin, path))
		if err == nil && len(content) > maxFilterFile {
			return nil, fmt.Errorf("%s has %d bytes, more than %d", path, len(content), maxFilterFile)
		}
		return content, err
	}
}

var stageNames = [...]string{filter.Protect: "protects", filter.Transform: "changes requests", filter.Answer: "answers itself"}

func checkRespond(spec *config.Respond, r *config.Report) {
	if spec.Body != "" && (spec.Status == 204 || spec.Status == 205 || spec.Status == 304) {
		r.Errorf("body", "remove it, or write another status", "status %d has no body", spec.Status)
	}
	unusual(r, "body", len(spec.Body), 1<<20)
	checkHeaderText(spec.ContentType, "content_type", "text/plain; charset=utf-8", r)
}
