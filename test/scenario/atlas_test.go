package scenario

import (
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirproxy/weir/internal/geo/geotest"
)

// cmdAtlas is atlas FILE NET=COUNTRY,CONTINENT|AS... : a database of addresses.
func cmdAtlas(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: atlas FILE NET=COUNTRY,CONTINENT... or NET=NUMBER...")
	}
	kind := "Test-Country"
	var nets []geotest.Net
	for _, arg := range args[1:] {
		prefix, what, _ := strings.Cut(arg, "=")
		n := geotest.Net{Prefix: prefix}
		if number, err := strconv.ParseUint(what, 10, 32); err == nil {
			kind, n.ASN = "Test-ASN", uint32(number)
		} else {
			n.Country, n.Continent, _ = strings.Cut(what, ",")
		}
		nets = append(nets, n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), geotest.Write(kind, nets...), 0o600))
}
