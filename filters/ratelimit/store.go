package ratelimit

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/redis"
)

// Store is where proxies keep limits that they share.
type Store struct {
	// Redis is how to reach it.
	Redis config.Redis `yaml:"redis" json:"redis" required:"true"`
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
	Loaded redis.Secrets `yaml:"-" json:"-"`
}

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

func (s *Store) check(report *config.Report) {
	redis.Check(&s.Redis, report.Below("redis"))
	if s.Timeout <= 0 || s.Timeout > config.Duration(time.Second) {
		report.Errorf("timeout", "write 20ms", "requests would wait %s for the store; that is more than 1s, or nothing", s.Timeout)
	}
}

// load reads the files that the settings refer to.
func load(s *Settings, read filter.Reader, report *config.Report) {
	if s.Store != nil {
		s.Store.Loaded = redis.Load(&s.Store.Redis, read, report.Below("store.redis"))
	}
}

// identity says which store it is, without showing a secret.
func (s *Store) identity() string {
	return "store " + redis.Identity(&s.Redis, &s.Loaded) + " " + s.Timeout.String()
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
	o := redis.From(&s.Redis, &s.Loaded)
	o.Timeout, o.Log = time.Duration(s.Timeout), log
	return o
}
