package engine

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/geo"
	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/stream"
)

// places finds where clients are, by the databases of the generation that runs.
// Every connection has it; nobody who does not ask pays for it.
type places struct {
	database       atomic.Pointer[geo.Database] // nil: there is none
	found, unknown atomic.Int64
}

// Locate is stream.Locator.
func (p *places) Locate(client netip.Addr) (place stream.Place) {
	if d := p.database.Load(); d != nil {
		place = d.Locate(client)
	}
	if place == (stream.Place{}) {
		p.unknown.Add(1)
	} else {
		p.found.Add(1)
	}
	return place
}

var (
	geoLookups = counter("weir_geo_lookups_total", "Requests whose place was asked for: found, or unknown.")
	geoBuilt   = gauge("weir_geo_database_built_timestamp_seconds", "When the database was made, as it says.")
)

func (e *Engine) placeSamples(emit func(record.Sample)) {
	d := e.places.database.Load()
	if d == nil {
		return
	}
	geoLookups.sample(emit, float64(e.places.found.Load()), "result", "found")
	geoLookups.sample(emit, float64(e.places.unknown.Load()), "result", "unknown")
	for _, f := range d.Files() {
		geoBuilt.sample(emit, float64(f.Built.Unix()), "type", f.Type)
	}
}

// viewPlaces is what operators see of the databases.
func (e *Engine) viewPlaces() any {
	return struct {
		Databases []geo.About `json:"databases"`
		Found     int64       `json:"found"`
		Unknown   int64       `json:"unknown"`
		Now       time.Time   `json:"now"` // for the age of the databases
	}{append([]geo.About{}, e.places.database.Load().Files()...), e.places.found.Load(), e.places.unknown.Load(), time.Now().UTC()}
}
