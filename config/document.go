package config

// Document is everything that people write: the union of all files given.
// Lists are joined over the files; the other parts may stand in one file only.
// Keys that begin with "x-" mean nothing: they are a place for YAML anchors.
type Document struct {
	// Admin is where operators and tools ask a running proxy.
	Admin Admin `yaml:"admin" json:"admin"`
	// AccessLog writes one line per request.
	AccessLog AccessLog `yaml:"access_log" json:"access_log"`
	// Metrics bounds what /metrics shows.
	Metrics Metrics `yaml:"metrics" json:"metrics"`
	// Redact names what no output may show: logs, admin pages, snapshots.
	Redact Redact `yaml:"redact" json:"redact"`
	// Geo says where clients are.
	Geo Geo `yaml:"geo" json:"geo"`
	// Overload says what is done before the process has used up what it may.
	Overload Overload `yaml:"overload" json:"overload"`
	// Drain says how the process ends.
	Drain Drain `yaml:"drain" json:"drain"`
	// Listeners are the addresses where clients connect.
	Listeners []Listener `yaml:"listeners" json:"listeners"`
	// Routes say which requests go where.
	Routes []Route `yaml:"routes" json:"routes"`
	// Clusters are the groups of endpoints that serve requests.
	Clusters []Cluster `yaml:"clusters" json:"clusters"`

	// Broken are the objects that have an error. They stand in no list above;
	// who has their last good version keeps it.
	Broken []BrokenObject `yaml:"-" json:"-"`

	parts map[string]Origin // the parts that are not lists, where they were written; nil: a tool made the document
}

// At is the place of a path in a part that is not a list ("admin.address"), or
// of the nearest part of it that was written; the zero Pos when none was.
func (d *Document) At(path string) Pos {
	part, rest := firstStep(path)
	origin := d.parts[part]
	return origin.At(rest)
}

// BrokenObject is an object that was written and could not be read.
type BrokenObject struct {
	// Kind is listener, route, cluster, or the key of a part that is not a
	// list: admin, access_log, metrics, redact, geo, overload, drain.
	Kind string
	// Name is "" for such a part, and when the name itself is what is wrong:
	// then it may be any object of the kind that is not there otherwise.
	Name string
	Pos  Pos
}

// Admin is where operators and tools ask a running proxy.
type Admin struct {
	// Address is host:port, unix:/path or off. An address that is not on
	// loopback needs allow_remote.
	Address string `yaml:"address" json:"address"`
	// AllowRemote permits an address that other machines reach. The admin
	// pages have no login.
	AllowRemote bool `yaml:"allow_remote" json:"allow_remote"`
}

// AccessLog writes one line per request.
type AccessLog struct {
	// To is stdout, stderr, off or the path of a file. A file is opened again
	// on SIGUSR1 and when it was moved away.
	To string `yaml:"to" json:"to"`
	// Format is json or text.
	Format string `yaml:"format" json:"format" enum:"json,text"`
	// Template is the line of the text format, with {field} placeholders.
	Template string `yaml:"template" json:"template"`
	// Sample is the share of requests logged, 0 to 1. Requests that match
	// always are logged whatever the sample says.
	Sample float64 `yaml:"sample" json:"sample" max:"1"`
	// Always names what is logged regardless of sample.
	Always LogFilter `yaml:"always" json:"always"`
	// Only, when set, logs nothing but what it names.
	Only LogFilter `yaml:"only" json:"only"`
	// Headers are request headers to add to each line.
	Headers []string `yaml:"headers" json:"headers"`
}

// LogFilter selects requests; one that meets any condition is selected.
type LogFilter struct {
	// Status are classes or codes: 5xx, 404.
	Status []string `yaml:"status" json:"status"`
	// SlowerThan selects requests that took at least so long.
	SlowerThan Duration `yaml:"slower_than" json:"slower_than"`
	// Faults selects requests that ended with a reason word.
	Faults bool `yaml:"faults" json:"faults"`
}

// Metrics bounds what /metrics shows.
type Metrics struct {
	// MaxSeries is the largest number of label sets per metric; the rest is
	// folded into route or cluster "other".
	MaxSeries int `yaml:"max_series" json:"max_series" min:"1"`
}

// Redact names what no output may show.
type Redact struct {
	// Headers whose values are replaced by "[redacted]". Authorization,
	// Proxy-Authorization, Cookie and Set-Cookie are always among them.
	Headers []string `yaml:"headers" json:"headers"`
	// Query are the keys whose values are replaced.
	Query []string `yaml:"query" json:"query"`
}

// Geo says where clients are: countries, continents and autonomous systems as keys
// and conditions.
type Geo struct {
	// Database is one or several files in the format of MaxMind (.mmdb), of
	// countries or cities, and of autonomous systems. They are read into memory,
	// and again when they change.
	Database Texts `yaml:"database" json:"database"`
}

// Overload says what is done before the process has used up what it may: memory,
// descriptors and connections, and what when it has more work than its
// processors can do. The thing that is used most decides.
type Overload struct {
	// Enabled is false where nothing is to be done.
	Enabled bool `yaml:"enabled" json:"enabled"`
	// Memory is how much the process may have; 0: what its cgroup says, or four
	// fifths of the machine's.
	Memory Size `yaml:"memory" json:"memory"`
	// MaxConnections is the largest number of connections of all listeners
	// together; 0: that of each listener alone counts.
	MaxConnections int `yaml:"max_connections" json:"max_connections"`
	// MaxDelay is for how long what is ready to run may wait for a processor: from
	// half of it on, requests of routes with importance: low are refused, and from
	// all of it on what Refuse says; 0: nothing is done about it.
	MaxDelay Duration `yaml:"max_delay" json:"max_delay"`
	// Shorten is the share from which idle connections are closed earlier: the
	// earlier the nearer the share is to Refuse.
	Shorten float64 `yaml:"shorten" json:"shorten" max:"1"`
	// Tighten is the share from which connections end with the answer to their
	// present request.
	Tighten float64 `yaml:"tighten" json:"tighten" max:"1"`
	// Shed is the share from which requests of routes with importance: low are
	// refused.
	Shed float64 `yaml:"shed" json:"shed" max:"1"`
	// Refuse is the share from which new connections are refused, and requests
	// of all routes but those with importance: high.
	Refuse float64 `yaml:"refuse" json:"refuse" max:"1"`
	// Reset is the share of memory from which exchanges are reset: of the tenant
	// that has kept most in memory for longest, those that have, a few at a time.
	Reset float64 `yaml:"reset" json:"reset" max:"1"`
	// Tenant says whom what an exchange keeps in memory is charged to: a key of the
	// request like client, client/24, header:NAME or cookie:NAME.
	Tenant string `yaml:"tenant" json:"tenant"`
}

// Drain says how the process, or a part that a change removed, ends.
type Drain struct {
	// Grace is how long requests under way may take after the stop began.
	Grace Duration `yaml:"grace" json:"grace"`
}
