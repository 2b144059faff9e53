package bandwidthlimit

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
)

// Settings of the filter bandwidth_limit.
type Settings struct {
	// Request is how fast content of requests is passed on: 1MiB/s; none: at any
	// rate.
	Request Speed `yaml:"request" json:"request,omitempty"`
	// Response is how fast content of responses is passed on: 1MiB/s; none: at any
	// rate.
	Response Speed `yaml:"response" json:"response,omitempty"`
	// Burst is how many bytes of a key may come at once; 0: those of a second.
	Burst config.Size `yaml:"burst" json:"burst"`
	// Key is what shares the bandwidth: client, client/BITS, header:NAME,
	// cookie:NAME, query:NAME, claim:NAME, or several of them together; none: all requests of
	// the route do.
	Key config.Texts `yaml:"key" json:"key"`
	// Mode says what becomes of bytes that come too fast: enforce lets them wait,
	// shadow counts them only.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
	// Keys is for how many keys at a time there is a place, of 18 bytes; the
	// memory is fixed.
	Keys int `yaml:"keys" json:"keys" min:"1" max:"100000000"`
}

// Speed is a number of bytes per second in text: 64KiB/s, 10MB/s.
type Speed int64

// fastest is what no wait of this filter would change.
const fastest = 1 << 40

// UnmarshalText reads 64KiB/s.
func (s *Speed) UnmarshalText(text []byte) error {
	size, found := strings.CutSuffix(string(text), "/s")
	var bytes config.Size
	if !found || bytes.UnmarshalText([]byte(size)) != nil || bytes <= 0 || bytes > fastest {
		return fmt.Errorf("this is no speed up to 1024GiB/s; write bytes per second: 64KiB/s, 10MB/s")
	}
	*s = Speed(bytes)
	return nil
}

// String is the text that UnmarshalText reads; "" for 0.
func (s Speed) String() string {
	if s == 0 {
		return ""
	}
	return config.Size(s).String() + "/s"
}

// MarshalText is String, for every encoder.
func (s Speed) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func check(s *Settings, report *config.Report) {
	if s.Request == 0 && s.Response == 0 {
		report.Errorf("", "write request: 1MiB/s or response: 1MiB/s", "the filter limits nothing")
	}
	if s.Burst > fastest {
		report.Errorf("burst", "write at most 1024GiB", "a burst of %s is no limit", s.Burst)
	}
	if _, err := requestkey.ParseTuple(s.Key); err != nil {
		report.Errorf("key", "name a value that requests have", "%v", err)
	}
}
