package fault

import (
	"errors"
	"time"

	"github.com/weirproxy/weir/config"
)

// Settings of the filter fault.
type Settings struct {
	// Mode is enforce, or shadow: decide, count and log, and leave the requests
	// alone.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
	// Delay makes requests wait before they go on.
	Delay *Delay `yaml:"delay" json:"delay,omitempty"`
	// Abort spoils their responses.
	Abort *Abort `yaml:"abort" json:"abort,omitempty"`
	// When says which requests are drawn from; empty: all.
	When When `yaml:"when" json:"when"`
	// Header lets requests choose their fault by this field: delay, delay=250ms,
	// abort, both with a comma between them, or none. Empty: they cannot.
	Header string `yaml:"header" json:"header"`
	// Stop ends it all, whatever else stands here.
	Stop Stop `yaml:"stop" json:"stop"`
}

// Delay makes requests wait. One of fixed, uniform, normal and histogram is
// needed.
type Delay struct {
	// Share of the requests that wait; 0: those only that choose it by header.
	Share float64 `yaml:"share" json:"share" max:"1"`
	// Fixed is always the same time.
	Fixed *config.Duration `yaml:"fixed" json:"fixed,omitempty"`
	// Uniform is any time between two, each as likely.
	Uniform *Uniform `yaml:"uniform" json:"uniform,omitempty"`
	// Normal is distributed normally; what would be negative is 0.
	Normal *Normal `yaml:"normal" json:"normal,omitempty"`
	// Histogram is distributed as was measured somewhere: a bucket by its weight,
	// and any time in it.
	Histogram []Bucket `yaml:"histogram" json:"histogram,omitempty"`
	// Max is the longest time that a request waits, whatever says more.
	Max config.Duration `yaml:"max" json:"max"`
}

// SetDefaults implements config.Defaulter.
func (d *Delay) SetDefaults() { d.Max = config.Duration(30 * time.Second) }

// Uniform is any time between two.
type Uniform struct {
	// Min is the shortest.
	Min config.Duration `yaml:"min" json:"min"`
	// Max is the longest.
	Max config.Duration `yaml:"max" json:"max" required:"true"`
}

// Normal is a normal distribution.
type Normal struct {
	// Mean is its middle.
	Mean config.Duration `yaml:"mean" json:"mean" required:"true"`
	// Deviation is its standard deviation.
	Deviation config.Duration `yaml:"deviation" json:"deviation" required:"true"`
}

// Bucket is one of a histogram: the times from the end of the one before, or 0.
type Bucket struct {
	// UpTo is its longest time.
	UpTo config.Duration `yaml:"up_to" json:"up_to" required:"true"`
	// Weight is its share, relative to the sum of all weights.
	Weight int `yaml:"weight" json:"weight" required:"true" max:"1000000"`
}

// Abort spoils responses. One of status, grpc, reset, half_close, truncate and
// slow is needed. Status, grpc, reset and half_close keep the request from the
// service; with truncate and slow the service answers.
type Abort struct {
	// Share of the requests that are aborted; 0: those only that choose it by
	// header.
	Share float64 `yaml:"share" json:"share" max:"1"`
	// Status answers with this status, 400 to 599.
	Status int `yaml:"status" json:"status,omitempty"`
	// GRPC answers gRPC calls with this status, by its name (unavailable) or
	// number; other requests are left alone.
	GRPC string `yaml:"grpc" json:"grpc,omitempty"`
	// Reset breaks the connection off (HTTP/1), or the stream.
	Reset bool `yaml:"reset" json:"reset,omitempty"`
	// HalfClose closes our side of the connection without a word.
	HalfClose bool `yaml:"half_close" json:"half_close,omitempty"`
	// Truncate breaks the response off behind so many bytes of its content,
	// whatever length it has announced.
	Truncate *config.Size `yaml:"truncate" json:"truncate,omitempty"`
	// Slow lets the content of the response through slowly.
	Slow *Slow `yaml:"slow" json:"slow,omitempty"`
}

// Slow is a pace.
type Slow struct {
	// BytesPerSecond is how much of the content passes in a second.
	BytesPerSecond config.Size `yaml:"bytes_per_second" json:"bytes_per_second" required:"true" min:"1"`
}

// When are conditions; all of them must hold.
type When struct {
	// Headers are conditions on request headers.
	Headers []config.ValueMatch `yaml:"headers" json:"headers"`
	// Clients are address ranges (CIDR) of the client.
	Clients []string `yaml:"clients" json:"clients"`
	// From is when it begins, as RFC 3339 writes times (2026-03-01T14:00:00Z).
	From *Moment `yaml:"from" json:"from,omitempty"`
	// Until is when it ends, unless stop.after comes first.
	Until *Moment `yaml:"until" json:"until,omitempty"`
}

// Stop ends it all.
type Stop struct {
	// After is how long faults are made, from when these settings first run in
	// this process, or from when.from if that is later.
	After config.Duration `yaml:"after" json:"after"`
	// MaxShare bounds the sum of the shares, and the share of requests with a
	// fault as it is measured over the last minute, in which ten are free.
	MaxShare float64 `yaml:"max_share" json:"max_share" min:"0.001" max:"1"`
	// MaxActive is how many requests may be under a fault at a time; those beyond
	// it are left alone.
	MaxActive int `yaml:"max_active" json:"max_active" min:"1" max:"1000000"`
}

// SetDefaults implements config.Defaulter.
func (s *Stop) SetDefaults() {
	s.After, s.MaxShare, s.MaxActive = config.Duration(time.Hour), 0.5, 1000
}

const (
	enforce = "enforce"
	shadow  = "shadow"
)

func defaults() Settings {
	s := Settings{Mode: enforce}
	s.Stop.SetDefaults()
	return s
}

// Moment is a point in time.
type Moment time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Moment) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return errors.New("no time; write it as 2026-03-01T14:00:00Z or 2026-03-01T14:00:00+02:00")
	}
	*m = Moment(t)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m Moment) MarshalText() ([]byte, error) {
	return []byte(time.Time(m).Format(time.RFC3339Nano)), nil
}
