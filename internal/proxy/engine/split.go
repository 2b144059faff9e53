package engine

import (
	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

var (
	splitRequests = counter("weir_split_requests_total", "Requests of a route with several sides, by the side that they took and by what decided.")
	splitIssued   = counter("weir_split_cookies_total", "Cookies that a split gave to clients that came without one.")
)

// exposing says where the requests of each side are counted. Without issued, it
// is only asked what would become of a request: no cookie is given to anybody.
type exposing struct {
	of     func(side string) route.Exposure
	issued route.Counter
}

// exposing counts as long as the route is there, over generations: an experiment
// does not begin anew with a reload.
func (e *Engine) exposing(spec *config.Route) (who exposing) {
	who.of = func(side string) (counters route.Exposure) {
		for cause := range route.NumCauses {
			counters[cause] = e.lodging.counter(spec.Name, splitRequests, []string{"side", side, "by", cause.String()})
		}
		return counters
	}
	if spec.Split.Issue != nil {
		who.issued = e.lodging.counter(spec.Name, splitIssued, nil)
	}
	return who
}

// sides are the clusters under to and the canary, if there is one, with what
// decides between them: first what the sides say themselves, then the canary,
// then the weights.
func sides(r *snapshot.Route, clusters []stream.Service, canary candidate, who exposing) (stream.Service, error) {
	spec := &r.Spec
	if len(clusters) == 1 && spec.To[0].Weight > 0 && canary.service == nil {
		return clusters[0], nil
	}
	list := make([]route.Side, len(clusters))
	var chosen []route.Choice
	for i := range spec.To {
		to := &spec.To[i]
		list[i] = route.Side{Name: to.Side(), Weight: to.Weight, Service: clusters[i], Exposed: who.of(to.Side())}
		if len(r.Sides) > 0 && r.Sides[i] != nil {
			chosen = append(chosen, route.Choice{Side: list[i], Match: r.Sides[i]})
		}
	}
	to, err := route.NewSplit(list, spec.Split.Key, spec.Name)
	if err == nil && canary.service != nil {
		side := route.Side{Name: spec.Canary.Side(), Service: canary.service, Exposed: who.of(spec.Canary.Side())}
		to, err = route.NewCanary(to, side, canary.comparison, spec.Split.Key, spec.Name)
	}
	if err == nil && spec.Split.Issue != nil && who.issued != nil {
		to, err = route.NewIssue(to, spec.Split.Key, spec.Split.Issue, who.issued)
	}
	if err != nil || len(chosen) == 0 {
		return to, err
	}
	return route.NewChoices(chosen, to), nil
}
