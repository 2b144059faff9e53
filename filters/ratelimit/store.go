package ratelimit

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/pemfile"
	"github.com/weirproxy/weir/internal/redis"
)

// Store is where proxies keep limits that they share.
type Store struct {
	// Redis are the addresses of Redis or Valkey, host:port or unix:PATH; several
	// are the seeds of one cluster.
	Redis []string `yaml:"redis" json:"redis" required:"true"`
	// Username to log in with.
	Username string `yaml:"username" json:"username,omitempty"`
	// Password to log in with, from a file.
	Password *config.Secret `yaml:"password" json:"password,omitempty"`
	// Database is its number.
	Database int `yaml:"database" json:"database" max:"65535"`
	// TLS encrypts the connections.
	TLS *StoreTLS `yaml:"tls" json:"tls,omitempty"`
	// Timeout is how long a request waits for the store.
	Timeout config.Duration `yaml:"timeout" json:"timeout"`
	// OnFailure says what becomes of requests while the store does not answer:
	// local limits them by what this proxy alone has seen, allow lets them pass,
	// refuse answers 503.
	OnFailure string `yaml:"on_failure" json:"on_failure" enum:"local,allow,refuse"`
	// Lease is how much of burst or amount a proxy takes for a busy key at a time,
	// so that it need not ask for each request: a share (10%) or a number.
	Lease Lease `yaml:"lease" json:"lease"`
	// Prefix of the keys in the store.
	Prefix string `yaml:"prefix" json:"prefix"`

	// Loaded is what the files had. It counts as content.
	Loaded Loaded `yaml:"-" json:"-"`
}

// StoreTLS says whom to trust.
type StoreTLS struct {
	// CA are the certificates that are trusted instead of those of the system.
	CA *config.Secret `yaml:"ca" json:"ca,omitempty"`
	// ServerName is the name that the certificate of the store has, if it is not
	// that of the address.
	ServerName string `yaml:"server_name" json:"server_name,omitempty"`
}

// Loaded is what the files had that a store refers to.
type Loaded struct {
	Password Hidden
	CA       []byte
}

// Hidden is a text without a printable form.
type Hidden struct{ text string }

func (Hidden) String() string { return "[hidden]" }

// GoString is String.
func (Hidden) GoString() string { return "[hidden]" }

// MarshalText is String, for every encoder.
func (Hidden) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

const (
	onFailureLocal  = "local"
	onFailureAllow  = "allow"
	onFailureRefuse = "refuse"
)

// SetDefaults of a store.
func (s *Store) SetDefaults() {
	s.Timeout, s.OnFailure, s.Prefix = config.Duration(20*time.Millisecond), onFailureLocal, "weir"
	s.Lease = Lease{percent: 10}
}

// Lease is a share or a number, in text.
type Lease struct {
	percent int64 // 0: number counts
	number  int64
}

// UnmarshalText reads 10% and 50.
func (l *Lease) UnmarshalText(text []byte) error {
	digits, share := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 || share && n > 100 {
		return fmt.Errorf("this is no share and no number; write 1%% to 100%%, or a number of requests")
	}
	*l = Lease{number: int64(n)}
	if share {
		*l = Lease{percent: int64(n)}
	}
	return nil
}

// String is the text that UnmarshalText reads.
func (l Lease) String() string {
	if l.percent > 0 {
		return strconv.FormatInt(l.percent, 10) + "%"
	}
	return strconv.FormatInt(l.number, 10)
}

// MarshalText is String, for every encoder.
func (l Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// of is the most that is leased at a time of a limit.
func (l Lease) of(limit int64) int64 {
	if l.percent > 0 {
		return max(1, limit/100*l.percent+limit%100*l.percent/100)
	}
	return min(max(1, l.number), limit)
}

// maxAddresses of a store.
const maxAddresses = 64

func (s *Store) check(report *config.Report) {
	if len(s.Redis) > maxAddresses {
		report.Errorf("redis", "name some seeds", "%d addresses, more than %d", len(s.Redis), maxAddresses)
	}
	for i, address := range s.Redis {
		host, port, found := strings.Cut(address, ":")
		if !found || port == "" || host == "" {
			report.Errorf(fmt.Sprintf("redis[%d]", i), "write host:port or unix:PATH", "%q is no address", address)
		}
	}
	if s.Timeout <= 0 || s.Timeout > config.Duration(time.Second) {
		report.Errorf("timeout", "write 20ms", "requests would wait %s for the store; that is more than 1s, or nothing", s.Timeout)
	}
	for at, secret := range map[string]*config.Secret{"password": s.Password, "tls.ca": s.ca()} {
		if secret != nil && secret.File == "" {
			report.Errorf(at, "write {file: PATH}", "a filter reads secrets from files only")
		}
	}
}

func (s *Store) ca() *config.Secret {
	if s.TLS == nil {
		return nil
	}
	return s.TLS.CA
}

// load reads the files that the settings refer to.
func load(s *Settings, read filter.Reader, report *config.Report) {
	if s.Store == nil {
		return
	}
	report = report.Below("store")
	if p := s.Store.Password; p != nil {
		content, err := read(p.File)
		if err != nil {
			report.Errorf("password", "write a path relative to the document", "the password cannot be read: %v", err)
			return
		}
		s.Store.Loaded.Password.text = strings.TrimRight(string(content), "\r\n")
		if s.Store.Loaded.Password.text == "" {
			report.Errorf("password", "write the password into the file", "the file %s is empty", p.File)
		}
	}
	if ca := s.Store.ca(); ca != nil {
		content, err := read(ca.File)
		if err == nil {
			_, err = pemfile.Certificates(content)
		}
		if err != nil {
			report.Errorf("tls.ca", "write the path of a file with certificates in PEM", "the trusted certificates cannot be read: %v", err)
			return
		}
		s.Store.Loaded.CA = content
	}
}

// identity says which store it is, without showing the password.
func (s *Store) identity() string {
	secret := sha256.Sum256([]byte("weir rate_limit store\x00" + s.Loaded.Password.text))
	return fmt.Sprintf("store %q %q %x %d %v %x %s", s.Redis, s.Username, secret[:8], s.Database, s.TLS != nil, sha256.Sum256(s.Loaded.CA), s.Timeout)
}

// client is that of an earlier generation, or a new one that connects in the
// background.
func (s *Store) client(env filter.Env) *redis.Client {
	c := env.Keep(s.identity(), func() any { return redis.New(s.options(env.Log)) }).(*redis.Client)
	env.Go(func() { c.Keep(env.Context) })
	env.Gauge("weir_rate_limit_store_up", "1 while the shared store answers.", func() float64 {
		if c.Up() {
			return 1
		}
		return 0
	})
	return c
}

func (s *Store) options(log *slog.Logger) redis.Options {
	o := redis.Options{
		Addresses: s.Redis, Username: s.Username, Password: s.Loaded.Password.text, Database: s.Database,
		Timeout: time.Duration(s.Timeout), Log: log,
	}
	if s.TLS != nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLS.ServerName}
		if len(s.Loaded.CA) > 0 {
			o.TLS.RootCAs = x509.NewCertPool()
			o.TLS.RootCAs.AppendCertsFromPEM(s.Loaded.CA)
		}
	}
	return o
}
