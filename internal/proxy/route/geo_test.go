package route

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// atlas says where addresses are, and counts how often it is asked.
type atlas struct {
	places map[string]stream.Place
	asked  int
}

func (a *atlas) Locate(client netip.Addr) stream.Place {
	a.asked++
	return a.places[client.String()]
}

// TestGeo: routes and sides go by where the client is, which is looked up once for
// a request, and not at all where nobody asks.
func TestGeo(t *testing.T) {
	world := &atlas{places: map[string]stream.Place{
		"192.0.2.1": {Country: "DE", Continent: "EU", ASN: 64500}, "192.0.2.2": {Country: "FR", Continent: "EU"},
		"2001:db8::1": {Country: "JP", Continent: "AS", ASN: 64500},
	}}
	route := func(name, path string, m *config.GeoMatch) Entry {
		return Entry{Route: &snapshot.Route{
			Spec:  config.Route{Name: name, Protocol: "http"},
			Match: snapshot.Match{Path: snapshot.Path{Kind: snapshot.PathPrefix, Text: path}, Geo: m},
		}}
	}
	table := Build([]Entry{
		route("german", "/", &config.GeoMatch{Countries: []string{"AT", "DE"}}),
		route("system", "/", &config.GeoMatch{Continents: []string{"AS"}, ASNs: []int{64500}}),
		route("others", "/", nil), route("plain", "/plain", nil),
		route("abroad", "/abroad", &config.GeoMatch{Continents: []string{"EU"}, Not: true}), route("home", "/abroad", nil),
	})
	for _, c := range []struct {
		path, client, want string
		asked              int
	}{
		{"/", "192.0.2.1", "german", 1}, {"/", "::ffff:192.0.2.1", "german", 1}, {"/", "192.0.2.2", "others", 1}, {"/", "2001:db8::1", "system", 1},
		{"/", "10.0.0.1", "others", 1}, {"/", "", "others", 0}, {"/plain", "192.0.2.1", "plain", 0},
		{"/abroad", "192.0.2.2", "home", 1}, {"/abroad", "2001:db8::1", "abroad", 1}, {"/abroad", "10.0.0.1", "abroad", 1}, // not known is not in the list
	} {
		req := request(t, "GET h "+c.path)
		req.Conn = &stream.Conn{Places: world}
		if c.client != "" {
			req.Client = netip.MustParseAddr(c.client)
		} else {
			req.Client = netip.Addr{}
		}
		world.asked = 0
		if got := table.Find(req); got == nil || got.Route.Spec.Name != c.want || world.asked != c.asked {
			t.Errorf("%s of %q took %v and %d lookups, want %s and %d", c.path, c.client, got, world.asked, c.want, c.asked)
		}
	}
	req := request(t, "GET h /")
	req.Conn, req.Client = &stream.Conn{Places: world}, netip.MustParseAddr("192.0.2.2")
	why := ""
	for _, c := range table.Explain(req) {
		if c.Entry != nil && c.Entry.Route.Spec.Name == "german" {
			why = c.Why
		}
	}
	if !strings.Contains(why, "is in FR, EU") {
		t.Errorf("explained by %q", why)
	}
}

func TestChoicesByPlace(t *testing.T) {
	took := ""
	side := func(name string, m *config.GeoMatch) Choice {
		return Choice{Match: &snapshot.Match{Geo: m}, Side: Side{Name: name, Service: stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			took = name
			return answers(200).Serve(ctx, req)
		})}}
	}
	c := NewChoices([]Choice{side("german", &config.GeoMatch{Countries: []string{"DE"}}), side("european", &config.GeoMatch{Continents: []string{"EU"}})}, side("others", nil).Service)
	world := &atlas{places: map[string]stream.Place{"192.0.2.1": {Country: "DE", Continent: "EU"}, "192.0.2.2": {Country: "FR", Continent: "EU"}}}
	for client, want := range map[string]string{"192.0.2.1": "german", "192.0.2.2": "european", "192.0.2.3": "others"} {
		req := request(t, "GET h /")
		req.Conn, req.Client = &stream.Conn{Places: world}, netip.MustParseAddr(client)
		if serve(t, c, req); took != want {
			t.Errorf("%s went to %s, want %s", client, took, want)
		}
	}
	if world.asked != 3 {
		t.Errorf("%d lookups for three requests", world.asked)
	}
}
