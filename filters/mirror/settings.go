package mirror

import (
	"time"

	"github.com/weirproxy/weir/config"
)

// Settings of the filter mirror.
type Settings struct {
	// To is the cluster that gets the copies.
	To string `yaml:"to" json:"to" required:"true"`
	// Share of the requests that are copied, from 0 to 1.
	Share float64 `yaml:"share" json:"share" max:"1"`
	// Key makes the share one of keys: a client with a value for it is always
	// in the share or never (header:NAME, cookie:NAME, query:NAME, claim:NAME, client).
	// Requests without the value, and all of them when this is empty, are drawn.
	Key string `yaml:"key" json:"key"`
	// Methods that are copied. Others than safe ones do something twice, once at
	// the shadow.
	Methods []string `yaml:"methods" json:"methods"`
	// Host of the copies; empty: that of the request.
	Host string `yaml:"host" json:"host"`
	// Timeout is how long a copy may take, its response included.
	Timeout config.Duration `yaml:"timeout" json:"timeout"`
	// Headers says which header fields a copy has.
	Headers Headers `yaml:"headers" json:"headers"`
	// Redact says what is hidden in copies.
	Redact Redact `yaml:"redact" json:"redact"`
	// Budget bounds what copies may take of the proxy.
	Budget Budget `yaml:"budget" json:"budget"`
	// Log writes a line of the access log for each copy.
	Log bool `yaml:"log" json:"log"`
	// Compare compares the responses; without it the shadow's are thrown away.
	Compare *Compare `yaml:"compare" json:"compare,omitempty"`
}

// Headers says which header fields a copy has. It begins with none.
type Headers struct {
	// Allow are the fields that are taken over; a "*" at the end stands for any
	// rest. Fields with credentials, such as Authorization and Cookie, are taken
	// over when they are named in so many words, and by no "*".
	Allow []string `yaml:"allow" json:"allow"`
	// Remove are fields that are not taken over after all; "*" as in allow.
	Remove []string `yaml:"remove" json:"remove"`
	// Set are fields of every copy, in the place of those that came.
	Set []Field `yaml:"set" json:"set"`
}

// Field is a header field. The value is sent as it is written here.
type Field struct {
	// Name of the field.
	Name string `yaml:"name" json:"name" required:"true"`
	// Value of the field; it may be empty.
	Value string `yaml:"value" json:"value"`
}

// Redact says what is hidden in copies. A request whose body cannot be read as
// what it says it is, or is of a type without a rule here, is not copied.
type Redact struct {
	// JSON are places in JSON bodies: /user/email, /items/*/id, /**/password.
	JSON []string `yaml:"json" json:"json"`
	// Form are names of fields of forms (application/x-www-form-urlencoded).
	Form []string `yaml:"form" json:"form"`
	// Query are names of query parameters.
	Query []string `yaml:"query" json:"query"`
}

// Budget bounds what copies may take of the proxy. Beyond it a request is not
// copied, and counted; it never waits.
type Budget struct {
	// Concurrent is the largest number of copies under way.
	Concurrent int `yaml:"concurrent" json:"concurrent" min:"1" max:"100000"`
	// Bytes is the most that bodies of copies, and of responses that are
	// compared, take in memory together.
	Bytes config.Size `yaml:"bytes" json:"bytes" min:"1024"`
	// MaxBody is the largest request body that is copied.
	MaxBody config.Size `yaml:"max_body" json:"max_body"`
}

// Compare says what of the two responses is compared.
type Compare struct {
	// Status compares the status codes.
	Status bool `yaml:"status" json:"status"`
	// Headers are the fields that are compared.
	Headers []string `yaml:"headers" json:"headers"`
	// JSON compares the bodies as JSON.
	JSON *CompareJSON `yaml:"json" json:"json,omitempty"`
	// MaxBody is the largest response body that is compared.
	MaxBody config.Size `yaml:"max_body" json:"max_body" min:"1" max:"16777216"`
	// Sample is the share of the copies whose responses are compared.
	Sample float64 `yaml:"sample" json:"sample" max:"1"`
}

// CompareJSON says how bodies are compared.
type CompareJSON struct {
	// Ignore are places that may differ: /timestamp, /items/*/id, /**/etag.
	Ignore []string `yaml:"ignore" json:"ignore"`
}

// SetDefaults: the status, of every copy.
func (c *Compare) SetDefaults() {
	c.Status, c.MaxBody, c.Sample = true, 64<<10, 1
}

// allowed is what a service needs to answer as the other one does, and nothing
// that says who the client is.
var allowed = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Content-Language", "Content-Type",
	"Grpc-Accept-Encoding", "Grpc-Encoding",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range", "User-Agent", "Via",
	"X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Request-Id",
}

func defaults() Settings {
	return Settings{
		Share:   1,
		Methods: []string{"GET", "HEAD"},
		Timeout: config.Duration(5 * time.Second),
		Log:     true,
		Headers: Headers{Allow: append([]string(nil), allowed...)},
		Budget:  Budget{Concurrent: 64, Bytes: 16 << 20, MaxBody: 64 << 10},
	}
}
