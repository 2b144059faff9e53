package jwt

import (
	"time"

	"github.com/weirproxy/weir/config"
)

// Settings of the filter jwt.
type Settings struct {
	// Issuers are those whose tokens are taken.
	Issuers []Issuer `yaml:"issuers" json:"issuers" required:"true"`
	// From is where the token stands: authorization (Bearer), header:NAME or
	// cookie:NAME. Nowhere else is one looked for.
	From string `yaml:"from" json:"from"`
	// Optional lets requests without a token pass, as nobody's. A token that is
	// not good is refused all the same.
	Optional bool `yaml:"optional" json:"optional"`
	// Forward leaves the token in the request; otherwise the upstream does not get
	// it.
	Forward bool `yaml:"forward" json:"forward"`
	// Headers tell the upstream who asks. What clients send by these names is
	// removed.
	Headers []Header `yaml:"headers" json:"headers"`
	// Payload is the name of a header that has all claims, in base64url.
	Payload string `yaml:"payload" json:"payload,omitempty"`
	// Scopes are those that the token must have, in its claim scope or scp.
	Scopes []string `yaml:"scopes" json:"scopes"`
	// Require are claims that the token must have.
	Require []Requirement `yaml:"require" json:"require"`
	// Leeway is how much clocks may differ.
	Leeway config.Duration `yaml:"leeway" json:"leeway"`
	// MaxToken is the largest token that is looked at.
	MaxToken config.Size `yaml:"max_token" json:"max_token" min:"64" max:"65536"`
	// MaxLifetime is the longest time, from iat or from now, for which a token may
	// be good.
	MaxLifetime config.Duration `yaml:"max_lifetime" json:"max_lifetime"`
	// Cache is how many verified tokens are remembered, until they expire or the
	// keys change; 0: each request is verified.
	Cache int `yaml:"cache" json:"cache" min:"0" max:"10000000"`
	// Realm is what clients are told they need credentials for.
	Realm string `yaml:"realm" json:"realm"`
	// Mode says what a refusal does: enforce refuses the request, shadow counts it
	// and lets it pass as nobody's.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
}

// Issuer of tokens.
type Issuer struct {
	// Issuer is the value of iss.
	Issuer string `yaml:"issuer" json:"issuer" required:"true"`
	// Audiences are whom tokens may be for: one of them must be in aud.
	Audiences []string `yaml:"audiences" json:"audiences"`
	// AnyAudience takes tokens that were made for any other service, too.
	AnyAudience bool `yaml:"any_audience" json:"any_audience,omitempty"`
	// Algorithms of signatures that are taken; none written: all with public keys
	// that are known.
	Algorithms []string `yaml:"algorithms" json:"algorithms"`
	// Types are the values of typ that are taken; none written: JWT, at+jwt, or
	// no typ.
	Types []string `yaml:"types" json:"types"`
	// Keys verify the signatures.
	Keys Keys `yaml:"keys" json:"keys" required:"true"`
}

// Keys are a JSON Web Key Set: in a file, in the document, or fetched again and
// again.
type Keys struct {
	// File has the set. A change of it is a change of the document.
	File string `yaml:"file" json:"file,omitempty"`
	// Inline is the set itself, as JSON.
	Inline string `yaml:"inline" json:"inline,omitempty"`
	// URL is where the set is fetched.
	URL string `yaml:"url" json:"url,omitempty"`
	// Cluster is the cluster that serves url.
	Cluster string `yaml:"cluster" json:"cluster,omitempty"`
	// Insecure permits a url with http and a cluster without TLS: whoever is
	// between can then make tokens.
	Insecure bool `yaml:"insecure" json:"insecure,omitempty"`
	// Refresh is after what time the set is fetched again.
	Refresh config.Duration `yaml:"refresh" json:"refresh"`
	// Stale is for how long a set is used that cannot be fetched again.
	Stale config.Duration `yaml:"stale" json:"stale"`
	// Cooldown is the least time between fetches for tokens with unknown keys.
	Cooldown config.Duration `yaml:"cooldown" json:"cooldown"`
	// Timeout is how long a fetch may take, and a request waits for it.
	Timeout config.Duration `yaml:"timeout" json:"timeout"`
	// MaxSize is the largest set.
	MaxSize config.Size `yaml:"max_size" json:"max_size" min:"64" max:"16777216"`

	// Content of File or Inline, by Load.
	Content []byte `yaml:"-" json:"-"`
}

// SetDefaults of keys.
func (k *Keys) SetDefaults() {
	k.Refresh, k.Stale = config.Duration(10*time.Minute), config.Duration(24*time.Hour)
	k.Cooldown, k.Timeout = config.Duration(10*time.Second), config.Duration(5*time.Second)
	k.MaxSize = 256 << 10
}

// Header tells the upstream a claim.
type Header struct {
	// Name of the header.
	Name string `yaml:"name" json:"name" required:"true"`
	// Claim is the name of a claim, or /a/b for one within objects. Several values
	// are joined with commas. A value that cannot stand in a header is left out.
	Claim string `yaml:"claim" json:"claim" required:"true"`
}

// Requirement is a claim that the token must have.
type Requirement struct {
	// Claim is the name of a claim, or /a/b for one within objects.
	Claim string `yaml:"claim" json:"claim" required:"true"`
	// Values are those of which the claim, or an element of its list, must be one;
	// none written: any.
	Values []string `yaml:"values" json:"values"`
}

const shadow = "shadow"

func defaults() Settings {
	return Settings{
		From: "authorization", Leeway: config.Duration(time.Minute), MaxToken: 8 << 10,
		MaxLifetime: config.Duration(24 * time.Hour), Cache: 10000, Realm: "weir", Mode: "enforce",
	}
}
