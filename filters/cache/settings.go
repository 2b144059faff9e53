package cache

import (
	"time"

	"github.com/weirproxy/weir/config"
)

// Settings of the filter cache.
type Settings struct {
	// Size is the memory for stored responses, of this route.
	Size config.Size `yaml:"size" json:"size" min:"65536"`
	// MaxObject is the largest response that is stored.
	MaxObject config.Size `yaml:"max_object" json:"max_object" min:"1024" max:"1073741824"`
	// Disk is a second tier, in files.
	Disk Disk `yaml:"disk" json:"disk"`
	// Key says what makes two requests ask for the same.
	Key Key `yaml:"key" json:"key"`
	// Redis tells other proxies what is purged here.
	Redis Redis `yaml:"redis" json:"redis"`
	// Limits bound what clients can make the cache hold.
	Limits Limits `yaml:"limits" json:"limits"`
	// StaleWhileRevalidate is how long a response that says nothing about it may
	// be used beyond its lifetime while a new one is fetched.
	StaleWhileRevalidate config.Duration `yaml:"stale_while_revalidate" json:"stale_while_revalidate"`
	// StaleIfError is how long a response that says nothing about it may be used
	// beyond its lifetime when the upstream fails.
	StaleIfError config.Duration `yaml:"stale_if_error" json:"stale_if_error"`
	// Heuristic is the longest lifetime that is guessed, as a tenth of the time
	// since Last-Modified, for a response that says nothing. 0: none is guessed.
	Heuristic config.Duration `yaml:"heuristic" json:"heuristic"`
	// HonourClient obeys no-cache, max-age, min-fresh and max-stale of requests.
	// Any client can then make the upstream work.
	HonourClient bool `yaml:"honour_client" json:"honour_client"`
	// Wait is how long a request waits for the same that is being fetched; it then
	// goes to the upstream by itself. 0: requests never wait for each other.
	Wait config.Duration `yaml:"wait" json:"wait"`
	// PassTags leaves Surrogate-Key and Cache-Tag in responses to clients.
	PassTags bool `yaml:"pass_tags" json:"pass_tags"`
	// CacheStatus tells clients by the field Cache-Status what the cache did.
	CacheStatus bool `yaml:"cache_status" json:"cache_status"`
	// ShareSetCookieWithEveryone stores responses with Set-Cookie, and so gives
	// the cookie of one user to all others.
	ShareSetCookieWithEveryone bool `yaml:"share_set_cookie_with_everyone" json:"share_set_cookie_with_everyone"`
	// Force stores responses that forbid it, and so shows what was made for one
	// user to all others.
	Force Force `yaml:"force" json:"force"`
}

// Disk is a second tier, in files.
type Disk struct {
	// Path is the folder; it is made when it is not there. None: no disk is used.
	Path string `yaml:"path" json:"path"`
	// Size is the room for files, of this route.
	Size config.Size `yaml:"size" json:"size" min:"1048576"`
}

// Redis is a store, Redis or Valkey, by which proxies tell each other what is
// purged. None: a purge is for this proxy alone.
type Redis struct {
	// Addresses are host:port, or unix:PATH. Several are the seeds of a cluster.
	Addresses []string `yaml:"addresses" json:"addresses"`
	// Username to log in with; none: the default user.
	Username string `yaml:"username" json:"username"`
	// Password to log in with, from a file.
	Password config.Secret `yaml:"password" json:"password"`
	// Database is its number.
	Database int `yaml:"database" json:"database" min:"0" max:"1000000"`
	// TLS connects with TLS; the certificate is judged by the authorities of the system.
	TLS bool `yaml:"tls" json:"tls"`
	// Channel is the start of the name under which purges are published; that of
	// the route follows. Proxies with one channel and one name of the route purge
	// together.
	Channel string `yaml:"channel" json:"channel"`
	// Loaded is the password. It is read by Load.
	Loaded Hidden `yaml:"-" json:"-"`
}

// Hidden is text that no printer shows.
type Hidden string

// String hides it.
func (Hidden) String() string { return "[hidden]" }

// GoString hides it from %#v, too.
func (Hidden) GoString() string { return "[hidden]" }

// Key says what makes two requests ask for the same: host, path, and this.
type Key struct {
	// Query says which parameters count.
	Query Query `yaml:"query" json:"query"`
	// Headers are request headers whose values count, beside those that a
	// response names in Vary.
	Headers []string `yaml:"headers" json:"headers"`
}

// Query says which parameters of the query count. Those that do not are not sent
// with what is fetched for the cache, either.
type Query struct {
	// Sort makes the order of parameters not count; that of equal names does.
	Sort bool `yaml:"sort" json:"sort"`
	// Ignore are parameters that do not count; "*" at the end stands for any rest:
	// utm_*.
	Ignore []string `yaml:"ignore" json:"ignore"`
	// Only are the parameters that count, all others do not. None: all count.
	Only []string `yaml:"only" json:"only"`
}

// Limits bound what clients can make the cache hold.
type Limits struct {
	// Variants is how many responses are stored for one key, by Vary.
	Variants int `yaml:"variants" json:"variants" min:"1" max:"10000"`
	// NewKeys is how many keys that are not stored are taken up in a second;
	// requests beyond it pass by the cache.
	NewKeys int `yaml:"new_keys" json:"new_keys" min:"1" max:"10000000"`
	// Background is how many responses are fetched anew in the background at a
	// time.
	Background int `yaml:"background" json:"background" min:"1" max:"100000"`
}

// Force stores responses that forbid it.
type Force struct {
	// TTL is how long such a response is used, whatever it says. 0: nothing is
	// forced.
	TTL config.Duration `yaml:"ttl" json:"ttl"`
	// Statuses are those of responses that are stored by force.
	Statuses []int `yaml:"statuses" json:"statuses"`
}

func defaults() Settings {
	return Settings{
		Size: 64 << 20, MaxObject: 4 << 20,
		Disk:   Disk{Size: 1 << 30},
		Redis:  Redis{Channel: "weir:cache"},
		Key:    Key{Query: Query{Sort: true}},
		Limits: Limits{Variants: 64, NewKeys: 1000, Background: 64},
		Wait:   config.Duration(5 * time.Second), CacheStatus: true,
		Force: Force{Statuses: []int{200}},
	}
}
