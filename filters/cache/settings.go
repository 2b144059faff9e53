package cache

import (
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/redis"
)

// Settings of the filter cache.
type Settings struct {
	// Size is the memory for stored responses, of this route.
	Size config.Size `yaml:"size" json:"size" min:"65536"`
	// MaxObject is the largest response that is stored.
	MaxObject config.Size `yaml:"max_object" json:"max_object" min:"1024" max:"1073741824"`
	// Slice is the size of the parts in which a range is fetched whose response is
	// not stored, to be stored each by itself, where the upstream gives strong
	// entity tags. 0: such a range passes by the cache.
	Slice config.Size `yaml:"slice" json:"slice" max:"1073741824"`
	// Disk is a second tier, in files.
	Disk Disk `yaml:"disk" json:"disk"`
	// Key says what makes two requests ask for the same.
	Key Key `yaml:"key" json:"key"`
	// Store tells other proxies what is purged here; none: a purge is for this
	// proxy alone.
	Store *Store `yaml:"store" json:"store,omitempty"`
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
	// Targets are fields that are read in the place of Cache-Control and Expires,
	// the first one that a response has and that is understood (RFC 9213).
	Targets []string `yaml:"targets" json:"targets"`
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

// Store is by which proxies tell each other what is purged. What is cached stays
// with each proxy.
type Store struct {
	// Redis is how to reach it.
	Redis config.Redis `yaml:"redis" json:"redis" required:"true"`
	// Channel is the start of the name under which purges are published; that of
	// the route follows. Proxies with one channel and one name of the route purge
	// together.
	Channel string `yaml:"channel" json:"channel"`
	// ConfirmAfter is how long purges of others may not have been heard before what
	// is stored is used only when the upstream confirms it. 0: it is used.
	ConfirmAfter config.Duration `yaml:"confirm_after" json:"confirm_after"`

	// Loaded is what the files had. It counts as content.
	Loaded redis.Secrets `yaml:"-" json:"-"`
}

// SetDefaults of a store.
func (s *Store) SetDefaults() { s.Channel = "weir:cache" }

// Advice is for who writes redis where store stands now.
func (*Settings) Advice(field string) string {
	if field == "redis" {
		return "write store: {redis: {addresses: [HOST:PORT]}}"
	}
	return ""
}

// Key says what makes two requests ask for the same: host, path, and this.
type Key struct {
	// Query says which parameters count.
	Query Query `yaml:"query" json:"query"`
	// Headers are request headers whose values count, beside those that a
	// response names in Vary.
	Headers []string `yaml:"headers" json:"headers"`
	// Values are other values of requests that count: claim:NAME, cookie:NAME,
	// header:NAME, query:NAME, client/BITS.
	Values []string `yaml:"values" json:"values"`
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
		Key:    Key{Query: Query{Sort: true}},
		Limits: Limits{Variants: 64, NewKeys: 1000, Background: 64},
		Wait:   config.Duration(5 * time.Second), CacheStatus: true,
		Targets: []string{"Weir-Cache-Control", "CDN-Cache-Control"},
		Force:   Force{Statuses: []int{200}},
	}
}
