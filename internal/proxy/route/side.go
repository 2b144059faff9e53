package route

import (
	"context"
	"net/netip"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// Choice is a side that takes requests by what they say, whatever its weight.
type Choice struct {
	Side
	Match *snapshot.Match // of it headers, cookies, query, claims, clients and geo; all must hold
}

// choices gives requests to the first side whose conditions hold, and the others
// to who shares them out.
type choices struct {
	list   []choice
	others stream.Service
}

type choice struct {
	conditions []condition
	clients    []netip.Prefix
	geo        *config.GeoMatch // nil: none
	service    stream.Service
	exposed    Exposure
}

// NewChoices makes an action of sides that are chosen by what requests say; the
// other requests go to others.
func NewChoices(sides []Choice, others stream.Service) stream.Service {
	c := &choices{others: others}
	for i := range sides {
		m := sides[i].Match
		made := choice{service: sides[i].Service, exposed: sides[i].Exposed, geo: m.Geo}
		made.conditions = appendConditions(made.conditions, inHeader, m.Headers)
		made.conditions = appendConditions(made.conditions, inCookie, m.Cookies)
		made.conditions = appendConditions(made.conditions, inQuery, m.Query)
		made.conditions = appendConditions(made.conditions, inClaim, m.Claims)
		for _, p := range m.Clients {
			made.clients = append(made.clients, unmapped(p))
		}
		c.list = append(c.list, made)
	}
	return c
}

// Serve implements stream.Service.
func (c *choices) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	for i := range c.list {
		if side := &c.list[i]; side.holds(req) {
			side.exposed.count(ByMatch)
			return side.service.Serve(ctx, req)
		}
	}
	return c.others.Serve(ctx, req)
}

func (c *choice) holds(req *stream.Request) bool {
	for i := range c.conditions {
		if !c.conditions[i].holds(req) {
			return false
		}
	}
	if c.geo != nil && !holdsGeo(c.geo, req) {
		return false
	}
	if len(c.clients) == 0 {
		return true
	}
	client := requestkey.Client(req)
	for _, p := range c.clients {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
