package ratelimit

import (
	"fmt"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/gcra"
	"github.com/weirproxy/weir/internal/requestkey"
)

// Settings of the filter rate_limit: one limit, written here, or several.
type Settings struct {
	// Rate is how many requests are allowed per time.
	Rate config.Rate `yaml:"rate" json:"rate,omitempty"`
	// Burst is how many requests may come at once; 0: those of one unit of rate.
	Burst int64 `yaml:"burst" json:"burst" max:"1000000000"`
	// Quota is an amount per day or month of the calendar, in the place of rate.
	Quota *Quota `yaml:"quota" json:"quota,omitempty"`
	// Key is what is limited each by itself: client, client/BITS, header:NAME,
	// cookie:NAME, query:NAME, claim:NAME, or several of them together; none: all requests of
	// the route are.
	Key config.Texts `yaml:"key" json:"key"`
	// Limits are several limits, all of which must allow a request.
	Limits []Limit `yaml:"limits" json:"limits"`

	// Mode says what a refusal does: enforce refuses the request, shadow counts
	// and logs it only.
	Mode string `yaml:"mode" json:"mode" enum:"enforce,shadow"`
	// Status of a refusal.
	Status int `yaml:"status" json:"status" enum:"429,503"`
	// Headers tells clients what is left by RateLimit-Limit, RateLimit-Remaining
	// and RateLimit-Reset.
	Headers bool `yaml:"headers" json:"headers"`
	// Store is where proxies keep the limits that they share; none: each proxy
	// limits by itself.
	Store *Store `yaml:"store" json:"store,omitempty"`
	// Service decides beside the limits here, or alone.
	Service *Service `yaml:"service" json:"service,omitempty"`
	// Keys is for how many keys at a time each limit has a place, of 18 bytes;
	// the memory is fixed.
	Keys int `yaml:"keys" json:"keys" min:"1" max:"100000000"`
}

// Limit is one of several limits.
type Limit struct {
	// Name of the limit in metrics and answers; its place in the list if there
	// is none.
	Name string `yaml:"name" json:"name,omitempty" format:"name"`
	// Rate is how many requests are allowed per time.
	Rate config.Rate `yaml:"rate" json:"rate,omitempty"`
	// Burst is how many requests may come at once; 0: those of one unit of rate.
	Burst int64 `yaml:"burst" json:"burst" max:"1000000000"`
	// Quota is an amount per day or month of the calendar, in the place of rate.
	Quota *Quota `yaml:"quota" json:"quota,omitempty"`
	// Key is what is limited each by itself: client, client/BITS, header:NAME,
	// cookie:NAME, query:NAME, claim:NAME, or several of them together; none: all requests of
	// the route are.
	Key config.Texts `yaml:"key" json:"key"`
	// Mode says what a refusal does, if not what the filter says: enforce refuses
	// the request, shadow counts and logs it only.
	Mode string `yaml:"mode" json:"mode,omitempty" enum:",enforce,shadow"`
}

// Quota is an amount per day or month of the calendar.
type Quota struct {
	// Amount of requests.
	Amount int64 `yaml:"amount" json:"amount" required:"true" min:"1" max:"1000000000000"`
	// Per is the window of the calendar that the amount is for.
	Per string `yaml:"per" json:"per" enum:"day,month"`
	// Zone says when a day begins: UTC, or a name such as Europe/Berlin.
	Zone string `yaml:"zone" json:"zone"`
}

const (
	shadow   = "shadow"
	perDay   = "day"
	perMonth = "month"
)

// SetDefaults of a quota.
func (q *Quota) SetDefaults() { q.Per, q.Zone = perDay, "UTC" }

func defaults() Settings {
	return Settings{Mode: "enforce", Status: 429, Keys: 131072}
}

// all limits, whichever way they are written.
func (s *Settings) all() []Limit {
	if len(s.Limits) > 0 {
		return s.Limits
	}
	if s.Service != nil && s.Rate.Count == 0 && s.Quota == nil {
		return nil
	}
	return []Limit{{Rate: s.Rate, Burst: s.Burst, Quota: s.Quota, Key: s.Key}}
}

func check(s *Settings, report *config.Report) {
	if s.Store != nil {
		s.Store.check(report.Below("store"))
	}
	if s.Service != nil {
		s.Service.check(report.Below("service"))
	}
	if len(s.Limits) == 0 {
		for _, only := range s.all() {
			only.check(report)
		}
		return
	}
	if s.Rate.Count != 0 || s.Quota != nil || s.Burst != 0 || len(s.Key) > 0 {
		report.Errorf("limits", "move rate, burst, quota and key into the list", "there are limits in the list, and one beside it")
	}
	if len(s.Limits) > maxLimits {
		report.Errorf("limits", "split them over routes", "%d limits, more than %d", len(s.Limits), maxLimits)
	}
	names := map[string]bool{}
	for i := range s.Limits {
		l, at := &s.Limits[i], report.Below(fmt.Sprintf("limits[%d]", i))
		if l.Name != "" && names[l.Name] {
			at.Errorf("name", "give each its own", "a second limit is named %q", l.Name)
		}
		names[l.Name] = true
		l.check(at)
	}
}

func (l *Limit) check(report *config.Report) {
	l.checkAmount(report)
	if _, err := requestkey.ParseTuple(l.Key); err != nil {
		report.Errorf("key", "name a value that requests have", "%v", err)
	}
}

func (l *Limit) checkAmount(report *config.Report) {
	switch {
	case l.Quota != nil && l.Rate.Count != 0:
		report.Errorf("quota", "remove one; limits: [...] may hold both", "a limit has a rate or a quota, and this one has both")
	case l.Quota != nil:
		if _, err := time.LoadLocation(l.Quota.Zone); err != nil || l.Quota.Zone == "Local" {
			report.Errorf("quota.zone", "write UTC, or a name of the time zone database such as Europe/Berlin",
				"the time zone %q is not known here", l.Quota.Zone)
		}
		if l.Burst != 0 {
			report.Errorf("burst", "remove it", "a quota has no burst")
		}
	case l.Rate.Count == 0:
		report.Errorf("", "write rate: 100/s, quota: {amount: 100000, per: day}, limits or service", "there is no limit: rate and quota are missing")
	default:
		if _, err := gcra.NewRate(int64(l.Rate.Count), l.Rate.Per, burstOf(l.Rate, l.Burst)); err != nil {
			report.Errorf("rate", "write a lower rate or burst", "%s with a burst of %d: %v", l.Rate, burstOf(l.Rate, l.Burst), err)
		}
	}
}
