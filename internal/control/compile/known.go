package compile

import (
	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
)

// noClaims is what to do about a claim that nobody knows.
const noClaims = "put a filter jwt in front of it"

// checkKey refuses a key whose value no request can have at that point of its
// way: all requests would have one key. One that cannot be read has been
// reported.
func (c *compiler) checkKey(text, at string, claims bool, r *config.Report) {
	if why, fix := c.unknown(text, claims); why != "" {
		r.Errorf(at, fix, "key %q is not known there%s", text, why)
	}
}

// unknown is why the value of a key is not known, and what to do.
func (c *compiler) unknown(text string, claims bool) (why, fix string) {
	key, err := requestkey.Parse(text)
	switch {
	case err != nil:
	case key.OfClaim() && !claims:
		return ": no token was verified", noClaims
	case key.OfCountry() && !c.general.places.KnowsCountries():
		return ": no database says in which country a client is", noCountries
	case key.OfASN() && !c.general.places.KnowsASNs():
		return ": no database says in which autonomous system a client is", noASNs
	}
	return "", ""
}

// checkKnown looks at what stands behind the filters of a route: its split and
// its sides.
func (c *compiler) checkKnown(spec *config.Route, r *config.Report) {
	claims := c.findsClaims(spec)
	c.checkKey(spec.Split.Key, "split.key", claims, r)
	for i := range spec.To {
		if m := spec.To[i].Match; m != nil && len(m.Claims) > 0 && !claims {
			r.Errorf(index("to", i)+".match.claims", noClaims, "claims are not known there: no token was verified")
		}
	}
}

// findsClaims tells whether a filter of the route finds out whose a request is.
func (c *compiler) findsClaims(spec *config.Route) bool {
	for i := range spec.Filters {
		if definition, known := c.in.Filters.Lookup(spec.Filters[i].Name); known && definition.Claims {
			return true
		}
	}
	return false
}

// checkKeysOf looks at the keys by which a cluster shares requests out: a route
// that goes there must know them.
func (c *compiler) checkKeysOf(cluster *snapshot.Cluster, route *config.Route, at string, r *config.Report) {
	claims := c.findsClaims(route)
	for _, text := range keysOf(cluster) {
		if why, fix := c.unknown(text, claims); why != "" {
			r.Errorf(at, fix, "cluster %q goes by %q, which requests of this route do not have%s", cluster.Spec.Name, text, why)
		}
	}
}

func keysOf(cluster *snapshot.Cluster) []string {
	texts := []string{cluster.Spec.HashKey}
	if cluster.Spec.Fair != nil {
		texts = append(texts, cluster.Spec.Fair.Key)
	}
	return texts
}
