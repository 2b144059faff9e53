package config

// HealthCheck asks the endpoints whether they are fit.
type HealthCheck struct {
	// Type is http, tcp (a connection), tls (a handshake), grpc
	// (grpc.health.v1), redis (PING) or postgres (whether it takes logins).
	Type string `yaml:"type" json:"type" enum:"http,tcp,tls,grpc,redis,postgres"`
	// Service is the one that type grpc asks about; empty: the server as a whole.
	Service string `yaml:"service" json:"service,omitempty"`
	// Path is asked with GET.
	Path string `yaml:"path" json:"path"`
	// Host is the Host header; empty: the endpoint.
	Host string `yaml:"host" json:"host,omitempty"`
	// Status are the codes or classes that mean fit.
	Status []string `yaml:"status" json:"status"`
	// User is who types redis and postgres come as. Empty is the default user of
	// redis, and postgres, who exists in most servers of that name: one that does
	// not exist is good enough, but the server logs it.
	User string `yaml:"user" json:"user,omitempty"`
	// Password is what type redis logs in with. Type postgres needs none: it
	// leaves when it is asked for one.
	Password *Secret `yaml:"password" json:"password,omitempty"`
	// Database is the one that type postgres names; empty: that of the user.
	Database string `yaml:"database" json:"database,omitempty"`
	// Interval is the time between checks, up to a tenth more or less.
	Interval Duration `yaml:"interval" json:"interval"`
	// UnhealthyInterval is the same for endpoints that are out; 0: interval.
	UnhealthyInterval Duration `yaml:"unhealthy_interval" json:"unhealthy_interval"`
	// EdgeInterval is the same while the last checks speak against the verdict,
	// but are not enough yet to change it; 0: the interval of the verdict.
	EdgeInterval Duration `yaml:"edge_interval" json:"edge_interval"`
	// IdleInterval is the same while the cluster has no requests; with the first
	// one the others hold again. 0: requests or not, it is all the same.
	IdleInterval Duration `yaml:"idle_interval" json:"idle_interval"`
	// Timeout is the longest time for one check.
	Timeout Duration `yaml:"timeout" json:"timeout"`
	// Healthy is how many good checks in a row bring an endpoint back.
	Healthy int `yaml:"healthy" json:"healthy" min:"1"`
	// Unhealthy is how many bad checks in a row take an endpoint out.
	Unhealthy int `yaml:"unhealthy" json:"unhealthy" min:"1"`
}

// Ejection takes out endpoints that fail real requests.
type Ejection struct {
	// Consecutive is the number of failures in a row (connection errors,
	// timeouts and 502, 503, 504); 0: never eject.
	Consecutive int `yaml:"consecutive" json:"consecutive"`
	// Base is how long the first ejection lasts; the nth lasts n times as long.
	Base Duration `yaml:"base" json:"base"`
	// Max bounds how long an ejection lasts.
	Max Duration `yaml:"max" json:"max"`
	// MaxShare is the largest share of endpoints out at once, 0 to 1; one is
	// always allowed when there is more than one endpoint.
	MaxShare float64 `yaml:"max_share" json:"max_share" max:"1"`
}
