package geo_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/geo"
	"github.com/weirproxy/weir/internal/geo/geotest"
	"github.com/weirproxy/weir/stream"
)

func countries() []byte {
	return geotest.Write("Test-Country",
		geotest.Net{Prefix: "192.0.2.0/24", Country: "DE", Continent: "EU"}, geotest.Net{Prefix: "198.51.100.0/25", Country: "JP", Continent: "AS"},
		geotest.Net{Prefix: "203.0.113.0/24", Country: "de\n", Continent: "Europe"}, geotest.Net{Prefix: "2001:db8::/33", Country: "BR", Continent: "SA"})
}

func systems() []byte {
	return geotest.Write("Test-ASN", geotest.Net{Prefix: "192.0.2.0/25", ASN: 64500}, geotest.Net{Prefix: "2001:db8::/32", ASN: 4200000000})
}

func open(t testing.TB, contents ...[]byte) *geo.Database {
	t.Helper()
	d, err := geo.Open(contents, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLocate(t *testing.T) {
	d := open(t, countries(), systems())
	if !d.KnowsCountries() || !d.KnowsASNs() {
		t.Errorf("%+v", d.Files())
	}
	for addr, want := range map[string]stream.Place{
		"192.0.2.1":        {Country: "DE", Continent: "EU", ASN: 64500},
		"192.0.2.200":      {Country: "DE", Continent: "EU"},
		"198.51.100.1":     {Country: "JP", Continent: "AS"},
		"198.51.100.200":   {},
		"203.0.113.1":      {}, // what is no code is not known
		"2001:db8::1":      {Country: "BR", Continent: "SA", ASN: 4200000000},
		"2001:db8:8000::1": {ASN: 4200000000},
		"10.0.0.1":         {},
		"::1":              {},
	} {
		if got := d.Locate(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
	if only := open(t, systems()); only.KnowsCountries() || !only.KnowsASNs() {
		t.Errorf("%+v", only.Files())
	}
	var none *geo.Database
	if none.KnowsASNs() || none.Sum() != [32]byte{} || none.Files() != nil {
		t.Error("no database knows something")
	}
}

// TestOpenAgain: the same content is the same database, so that nothing is held
// twice and nothing changes.
func TestOpenAgain(t *testing.T) {
	content := countries()
	held := open(t, content)
	if again, err := geo.Open([][]byte{content}, held); err != nil || again != held {
		t.Errorf("%p is another than %p, %v", again, held, err)
	}
	if more, err := geo.Open([][]byte{content, systems()}, held); err != nil || more == held || more.Sum() == held.Sum() {
		t.Errorf("%v, %v", more, err)
	}
}

// TestOpenRefuses: a file that is not what it should be is found before requests
// find it.
func TestOpenRefuses(t *testing.T) {
	whole := countries()
	damaged := bytes.Clone(whole)
	for i := 0; i < len(damaged)/3; i++ {
		damaged[i] = 0xff
	}
	for name, c := range map[string]struct {
		contents [][]byte
		want     string
	}{
		"none":         {nil, "0 files"},
		"empty":        {[][]byte{nil}, "no database"},
		"a part":       {[][]byte{whole[:len(whole)-80]}, "no database"},
		"the rest":     {[][]byte{whole[len(whole)/2:]}, ""},
		"another type": {[][]byte{geotest.Write("Test-Domain")}, "neither countries"},
		"damaged":      {[][]byte{damaged}, "damaged"},
		"HTML":         {[][]byte{[]byte("<html>quota exceeded</html>")}, "no database"},
		"too many":     {[][]byte{whole, whole, whole, whole, whole}, "5 files"},
	} {
		if d, err := geo.Open(c.contents, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, d, err, c.want)
		}
	}
}

func TestAllocsLocate(t *testing.T) {
	d, addr := open(t, countries(), systems()), netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(1000, func() { d.Locate(addr) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLocate(b *testing.B) {
	d, addr := open(b, countries(), systems()), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		d.Locate(addr)
	}
}

// FuzzOpen: a hostile file gets an error, or places that are codes.
func FuzzOpen(f *testing.F) {
	f.Add(countries())
	f.Add(systems())
	f.Add(countries()[:200])
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := geo.Open([][]byte{content}, nil)
		if err != nil {
			return
		}
		for _, text := range []string{"0.0.0.0", "192.0.2.1", "198.51.100.1", "255.255.255.255", "::", "2001:db8::1", "ffff::"} {
			p := d.Locate(netip.MustParseAddr(text))
			if len(p.Country) != 0 && len(p.Country) != 2 || len(p.Continent) != 0 && len(p.Continent) != 2 {
				t.Fatalf("%s is in %+v", text, p)
			}
		}
	})
}
