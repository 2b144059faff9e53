package stream

import "net/netip"

// Place is where an address is, as far as a database knows.
type Place struct {
	Country   string // ISO 3166-1 alpha-2 in upper case; "" when it is not known
	Continent string // AF, AN, AS, EU, NA, OC, SA; "" when it is not known
	ASN       uint32 // number of the autonomous system; 0 when it is not known
}

// Locator finds places. It is safe for concurrent use.
type Locator interface {
	Locate(client netip.Addr) Place
}

// Place is where Client is. It is looked up once for each request, when somebody
// asks; the zero Place without a database.
func (r *Request) Place() Place {
	if r.Conn == nil || r.Conn.Places == nil || !r.Client.IsValid() {
		return Place{}
	}
	if r.Caller == nil {
		r.Caller = new(Caller) // only where somebody asks
	}
	if found := r.Caller.place.Load(); found != nil {
		return *found
	}
	found := r.Conn.Places.Locate(r.Client.Unmap().WithZone(""))
	r.Caller.place.Store(&found)
	return found
}
