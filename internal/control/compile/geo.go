package compile

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/geo"
)

// checkGeo reads the databases. One that did not change is taken over from the
// last snapshot, so that it is in memory once.
func (c *compiler) checkGeo(r *config.Report) {
	g := &c.general
	var contents [][]byte
	for i, name := range g.geo.Database {
		content, err := c.in.Data(beside(&config.Origin{Pos: c.doc.At("geo.database")}, name))
		if err != nil {
			r.Errorf(geoAt(g.geo.Database, i), "check the path and its permissions", "the database cannot be read: %v", err)
			return
		}
		contents = append(contents, content)
	}
	if len(contents) == 0 {
		return
	}
	var err error
	if g.places, err = geo.Open(contents, c.previous.Places); err != nil {
		r.Errorf("database", "write the path of a database of countries, cities or autonomous systems", "%v", err)
	}
}

// geoAt is where a file is named: in a list, or alone.
func geoAt(list config.Texts, i int) string {
	if len(list) == 1 {
		return "database"
	}
	return index("database", i)
}

const (
	noCountries = "write geo: {database: PATH}, with a database of countries"
	noASNs      = "write geo: {database: PATH}, with a database of autonomous systems"
)

var continents = []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}

// checkGeoMatch refuses what no client can meet.
func (c *compiler) checkGeoMatch(m *config.GeoMatch, r *config.Report) {
	if m == nil {
		return
	}
	if len(m.Countries)+len(m.Continents)+len(m.ASNs) == 0 {
		r.Errorf("", "write countries, continents or asns, or remove it", "geo has no condition")
	}
	for i, code := range m.Countries {
		if len(code) != 2 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			r.Errorf(index("countries", i), "write two capital letters (ISO 3166-1), such as DE", "%q is no country", code)
		}
	}
	for i, code := range m.Continents {
		if !slices.Contains(continents, code) {
			r.Errorf(index("continents", i), "there are "+strings.Join(continents, ", "), "%q is no continent", code)
		}
	}
	for i, number := range m.ASNs {
		if number < 1 || number > 1<<32-1 {
			r.Errorf(index("asns", i), "write a number such as 64500", "%d is no number of an autonomous system", number)
		}
	}
	for _, wrong := range c.unplacedMatch(m) {
		r.Errorf("", wrong.fix, "%s", wrong.what)
	}
}

// unplacedMatch is what a condition asks and no database knows.
func (c *compiler) unplacedMatch(m *config.GeoMatch) (wrong []misfit) {
	if len(m.Countries)+len(m.Continents) > 0 && !c.general.places.KnowsCountries() {
		wrong = append(wrong, misfit{"no database says in which country a client is", noCountries})
	}
	if len(m.ASNs) > 0 && !c.general.places.KnowsASNs() {
		wrong = append(wrong, misfit{"no database says in which autonomous system a client is", noASNs})
	}
	return wrong
}
