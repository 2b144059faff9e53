package config

// ZonePreference keeps traffic in the zone of this proxy while the zone has its
// share of the fit endpoints. What it has less goes to the other zones, so that
// no endpoint gets more than another. It counts on each zone sending as much.
type ZonePreference struct {
	// Local is the zone of this proxy, as written at endpoints; empty: the one that
	// the process was started with (weir run --zone), for documents that proxies in
	// several zones share.
	Local string `yaml:"local" json:"local,omitempty"`
	// MinEndpoints is how many fit endpoints a priority must have for it: among
	// few, one more or less moves much traffic.
	MinEndpoints int `yaml:"min_endpoints" json:"min_endpoints" min:"1"`
}

// SlowStart gives an endpoint that is new, or was out, a share that grows.
// Endpoints that are there when the cluster begins have theirs at once.
type SlowStart struct {
	// Window is how long it takes to the whole share.
	Window Duration `yaml:"window" json:"window"`
	// MinShare is the part of its share that an endpoint begins with.
	MinShare float64 `yaml:"min_share" json:"min_share" max:"1"`
	// Aggression bends the way: with 1 the share grows evenly, with more it grows
	// early, with less late.
	Aggression float64 `yaml:"aggression" json:"aggression" max:"10"`
}

// LoadStream asks endpoints for reports of their load out of band: the method
// StreamCoreMetrics of xds.service.orca.v3.OpenRcaService, on a connection of its
// own to each endpoint.
type LoadStream struct {
	// Interval is how often an endpoint is to report. It may do so less often: those
	// of gRPC do it every 30s or less by themselves.
	Interval Duration `yaml:"interval" json:"interval"`
	// Silence is the longest time without a report; then the stream is opened anew.
	Silence Duration `yaml:"silence" json:"silence"`
}

// Panic says when health is not believed.
type Panic struct {
	// Below: when the fit share of a priority is less than this, 0 to 1, all of its
	// endpoints are used, whatever their health; 0: never. It is for checks that
	// may be wrong about all endpoints at once. Logs, metrics and the admin pages
	// show when it is so.
	Below float64 `yaml:"below" json:"below" max:"1"`
}

// Sticky sends what comes from one session to one endpoint. The endpoint stands
// in a cookie or a header that the client sends back, so that nothing is kept
// here: sessions survive restarts and hold at every proxy. While the endpoint may
// not be picked, another one takes the session over.
type Sticky struct {
	// Cookie carries it for browsers.
	Cookie *StickyCookie `yaml:"cookie" json:"cookie,omitempty"`
	// Header is the name of a field that carries it: the response says it, and the
	// client sends it with its next request.
	Header string `yaml:"header" json:"header,omitempty"`
}

// StickyCookie is the cookie of a sticky session.
type StickyCookie struct {
	// Name of the cookie; empty: one made of the name of the cluster.
	Name string `yaml:"name" json:"name,omitempty"`
	// TTL is how long the client keeps it, from the choice of the endpoint on; 0:
	// until it is closed.
	TTL Duration `yaml:"ttl" json:"ttl"`
	// Path below which it is sent.
	Path string `yaml:"path" json:"path"`
	// HTTPOnly hides it from scripts.
	HTTPOnly bool `yaml:"http_only" json:"http_only"`
	// Secure has it sent under TLS only: always, never, or auto, which is when the
	// request that it answers came so.
	Secure string `yaml:"secure" json:"secure" enum:"auto,always,never"`
	// SameSite is lax, strict or none: whether it is sent with requests from
	// other sites.
	SameSite string `yaml:"same_site" json:"same_site" enum:"lax,strict,none"`
}
