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

// Ejection takes out endpoints that fail real requests. When the time of an
// ejection is over, the endpoint is on probation: it gets one request at a time
// until it has answered well.
type Ejection struct {
	// Consecutive is the number of failures in a row (connection errors,
	// timeouts and 502, 503, 504); 0: not for that.
	Consecutive int `yaml:"consecutive" json:"consecutive"`
	// Interval is how often endpoints are compared, and over which time, by
	// success_rate, failure_rate and latency; up to a tenth more or less.
	Interval Duration `yaml:"interval" json:"interval"`
	// SuccessRate, when present, takes out those that succeed less often than the
	// others. Failures are those of consecutive and all of 5xx.
	SuccessRate *SuccessRate `yaml:"success_rate" json:"success_rate,omitempty"`
	// FailureRate, when present, takes out those that fail nearly always, whatever
	// the others do. Failures are those of success_rate.
	FailureRate *FailureRate `yaml:"failure_rate" json:"failure_rate,omitempty"`
	// Latency, when present, takes out those that are much slower than the others.
	Latency *LatencyOutlier `yaml:"latency" json:"latency,omitempty"`
	// Base is how long the first ejection lasts, up to a tenth less; each further
	// one lasts twice as long as the one before, less one step for each base that
	// has passed since its return.
	Base Duration `yaml:"base" json:"base"`
	// Max bounds how long an ejection lasts.
	Max Duration `yaml:"max" json:"max"`
	// MaxShare is the largest share of endpoints out at once, 0 to 1; one is
	// always allowed when there is more than one endpoint.
	MaxShare float64 `yaml:"max_share" json:"max_share" max:"1"`
	// Probation is how many requests, one at a time, an endpoint must answer well
	// before it is back. The first that it does not ejects it again.
	Probation int `yaml:"probation" json:"probation" min:"1"`
	// EndOnCheck says which health check ends the time of an ejection, so that
	// requests may prove the endpoint at once: recovery (one that succeeds after
	// others have failed: it sees what is wrong), success (any that succeeds) or
	// never.
	EndOnCheck string `yaml:"end_on_check" json:"end_on_check" enum:"recovery,success,never"`
}

// SuccessRate compares the share of good answers of each endpoint with those of
// all.
type SuccessRate struct {
	// Factor is how many standard deviations below the mean are too few.
	Factor float64 `yaml:"factor" json:"factor" max:"100"`
	// Least is how far below the mean it must be in any case, 0 to 1: where all
	// are alike, the standard deviation is nothing, and one failure an outlier.
	Least float64 `yaml:"least" json:"least" max:"1"`
	// MinEndpoints is how many endpoints with enough requests it takes.
	MinEndpoints int `yaml:"min_endpoints" json:"min_endpoints" min:"3"`
	// MinRequests is how many requests an endpoint must have had in the interval.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
}

// FailureRate looks at the share of failures of each endpoint by itself.
type FailureRate struct {
	// Above is the share that is too much, 0 to 1.
	Above float64 `yaml:"above" json:"above" max:"1"`
	// MinEndpoints is how many endpoints with enough requests it takes. When all of
	// these fail as often, nobody is taken out.
	MinEndpoints int `yaml:"min_endpoints" json:"min_endpoints" min:"2"`
	// MinRequests is how many requests an endpoint must have had in the interval.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
}

// LatencyOutlier compares how long each endpoint takes to the head of a response
// with the median of the others.
type LatencyOutlier struct {
	// Quantile of the times of one endpoint: 0.5 is the median, 0.9 what a tenth
	// exceeds.
	Quantile float64 `yaml:"quantile" json:"quantile" max:"0.999"`
	// Factor is how many times slower is too slow.
	Factor float64 `yaml:"factor" json:"factor" min:"1"`
	// Least is how much slower it must be in any case: among fast ones, a little
	// is many times.
	Least Duration `yaml:"least" json:"least"`
	// MinEndpoints is how many endpoints with enough requests it takes.
	MinEndpoints int `yaml:"min_endpoints" json:"min_endpoints" min:"2"`
	// MinRequests is how many requests an endpoint must have had in the interval.
	MinRequests int `yaml:"min_requests" json:"min_requests" min:"1"`
}
