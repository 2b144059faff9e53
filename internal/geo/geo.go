// Package geo finds where addresses are, in databases of the format of MaxMind
// (.mmdb): of countries, of cities, of autonomous systems. It holds them in
// memory and knows no file.
package geo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/weirproxy/weir/stream"
)

// Database answers out of one or several files. It is never written again, and
// is safe for concurrent use.
type Database struct {
	files []file
	sum   [sha256.Size]byte
}

type file struct {
	reader *maxminddb.Reader
	sum    [sha256.Size]byte
	about  About
}

// About is what a file says of itself.
type About struct {
	Type     string    `json:"type"` // "GeoLite2-Country"
	Built    time.Time `json:"built"`
	Nodes    uint      `json:"nodes"`
	Bytes    int       `json:"bytes"`
	Country  bool      `json:"country"` // it knows countries and continents
	ASN      bool      `json:"asn"`     // it knows autonomous systems
	IPv4Only bool      `json:"ipv4_only"`
}

// MaxFiles of a Database: each costs a search for each request that asks.
const MaxFiles = 4

// Open reads files, which nobody writes from now on. Those that last has already
// are taken from there; last may be nil.
func Open(contents [][]byte, last *Database) (*Database, error) {
	if len(contents) == 0 || len(contents) > MaxFiles {
		return nil, fmt.Errorf("%d files; there are 1 to %d", len(contents), MaxFiles)
	}
	d := &Database{}
	for _, content := range contents {
		f, err := open(content, last)
		if err != nil {
			return nil, err
		}
		d.files = append(d.files, f)
	}
	var sums []byte
	for i := range d.files {
		sums = append(sums, d.files[i].sum[:]...)
	}
	d.sum = sha256.Sum256(sums)
	if last != nil && last.sum == d.sum {
		return last, nil
	}
	return d, nil
}

func open(content []byte, last *Database) (file, error) {
	sum := sha256.Sum256(content)
	if last != nil {
		if at := slices.IndexFunc(last.files, func(f file) bool { return f.sum == sum }); at >= 0 {
			return last.files[at], nil
		}
	}
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return file{}, fmt.Errorf("this is no database of addresses (.mmdb), or only a part of one: %w", err)
	}
	f := file{reader: reader, sum: sum}
	m := &reader.Metadata
	f.about = About{Type: m.DatabaseType, Built: m.BuildTime().UTC(), Nodes: m.NodeCount, Bytes: len(content), IPv4Only: m.IPVersion == 4}
	for _, word := range []string{"Country", "City", "Enterprise"} {
		f.about.Country = f.about.Country || strings.Contains(m.DatabaseType, word)
	}
	for _, word := range []string{"ASN", "ISP"} {
		f.about.ASN = f.about.ASN || strings.Contains(m.DatabaseType, word)
	}
	if !f.about.Country && !f.about.ASN {
		return file{}, fmt.Errorf("a database of the type %.60q knows neither countries nor autonomous systems", m.DatabaseType)
	}
	return f, f.probe()
}

var errDamaged = errors.New("the database is damaged: addresses that it should know cannot be read; fetch it again")

// probe looks some addresses up, all over the tree: a file that is damaged is
// found here, instead of by requests.
func (f *file) probe() error {
	for i := range 256 {
		b := byte(i)
		for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{b, b, 1, 1}), netip.AddrFrom16([16]byte{0x20 | b>>4, b << 4, 15: 1})} {
			if _, err := f.find(addr); err != nil {
				return errDamaged
			}
		}
	}
	return nil
}

// record is what is read of an entry; the rest is passed over.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	ASN uint32 `maxminddb:"autonomous_system_number"`
}

func (f *file) find(client netip.Addr) (r record, err error) {
	if f.about.IPv4Only && !client.Is4() {
		return r, nil
	}
	return r, f.reader.Lookup(client).Decode(&r)
}

// Locate is stream.Locator. What cannot be read is not known.
func (d *Database) Locate(client netip.Addr) (p stream.Place) {
	for i := range d.files {
		r, err := d.files[i].find(client)
		if err != nil {
			continue
		}
		if isCode(r.Country.Code) && p.Country == "" {
			p.Country = r.Country.Code
		}
		if isCode(r.Continent.Code) && p.Continent == "" {
			p.Continent = r.Continent.Code
		}
		if p.ASN == 0 {
			p.ASN = r.ASN
		}
	}
	return p
}

// isCode: two capital letters, so that a database puts nothing else into keys.
func isCode(s string) bool {
	return len(s) == 2 && 'A' <= s[0] && s[0] <= 'Z' && 'A' <= s[1] && s[1] <= 'Z'
}

// KnowsCountries tells whether a file knows countries and continents.
func (d *Database) KnowsCountries() bool {
	return d != nil && slices.ContainsFunc(d.files, func(f file) bool { return f.about.Country })
}

// KnowsASNs tells whether a file knows autonomous systems.
func (d *Database) KnowsASNs() bool {
	return d != nil && slices.ContainsFunc(d.files, func(f file) bool { return f.about.ASN })
}

// Sum is over the content; that of nil is zero.
func (d *Database) Sum() (sum [sha256.Size]byte) {
	if d != nil {
		sum = d.sum
	}
	return sum
}

// Files is what the files say of themselves.
func (d *Database) Files() []About {
	if d == nil {
		return nil
	}
	list := make([]About, len(d.files))
	for i := range d.files {
		list[i] = d.files[i].about
	}
	return list
}
