package examples

import (
	"testing"

	"github.com/weirproxy/weir/internal/geo/geotest"
)

// atlas is the database that stands beside each example.
func atlas() []byte {
	return geotest.Write("Test-Country",
		geotest.Net{Prefix: "192.0.2.0/24", Country: "DE", Continent: "EU"}, geotest.Net{Prefix: "198.51.100.0/24", Country: "AQ", Continent: "AN"},
		geotest.Net{Prefix: "203.0.113.0/24", Country: "JP", Continent: "AS"})
}

func setupTwo(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("9001")), "127.0.0.1:9002": serve(t, echo("9002"))}
}

func proveGeo(t *testing.T, x *running) {
	x.equal("nowhere", saw(t, x.get("/")).Upstream, "9001")
	x.equal("Germany", saw(t, x.get("/", "X-Forwarded-For", "192.0.2.1")).Upstream, "9002")
	x.want("Antarctica", x.get("/", "X-Forwarded-For", "198.51.100.1"), 451)
	x.equal("Japan", saw(t, x.get("/", "X-Forwarded-For", "203.0.113.1")).Upstream, "9001")
}
