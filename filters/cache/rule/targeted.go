package rule

import (
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/weirproxy/weir/stream"
)

// controlFor is what a response says to this cache: the first of the targeted
// fields that is there and is understood, in the place of Cache-Control and
// Expires; else those (RFC 9213 section 2.2).
func controlFor(h *stream.Header, targets []string) Control {
	for _, name := range targets {
		if values := valuesNamed(h, name); len(values) > 0 {
			if c, ok := targetedControl(values); ok {
				return c
			}
		}
	}
	return ControlOf(h)
}

func valuesNamed(h *stream.Header, name string) (values []string) {
	fields := h.Fields()
	for i := range fields {
		if stream.EqualFold(fields[i].Name, name) {
			values = append(values, fields[i].Value)
		}
	}
	return values
}

// targetedControl reads a dictionary (RFC 9651 section 3.2) of directives. One
// that is empty, or breaks the grammar anywhere, counts as not there (RFC 9213
// section 2.1). Parameters mean nothing.
func targetedControl(values []string) (c Control, ok bool) {
	dictionary, err := httpsfv.UnmarshalDictionary(values)
	if err != nil || len(dictionary.Names()) == 0 {
		return Control{}, false
	}
	c = Control{Targeted: true, MaxAge: None, SMaxAge: None, StaleWhileRevalidate: None, StaleIfError: None}
	for _, name := range dictionary.Names() {
		member, _ := dictionary.Get(name)
		var value any // that of a list within is none of ours
		if item, single := member.(httpsfv.Item); single {
			value = item.Value
		}
		c.targeted(name, value)
	}
	return c, true
}

// targeted reads one directive. A value of another kind than the directive has
// never makes a response storable or fresh: what forbids counts with any value
// but ?0, what permits with none but ?1, and a time that is no whole number is
// 0, as in Cache-Control.
func (c *Control) targeted(name string, value any) {
	yes, isBool := value.(bool)
	forbids, permits := !isBool || yes, isBool && yes
	switch name {
	case "public":
		c.Public = permits
	case "private":
		c.Private = forbids
	case "no-store":
		c.NoStore = forbids
	case "no-cache":
		c.NoCache = forbids
	case "must-revalidate", "proxy-revalidate":
		c.MustRevalidate = c.MustRevalidate || forbids
	case "must-understand":
		c.MustUnderstand = forbids
	case "max-age":
		c.MaxAge = targetedAge(value)
	case "s-maxage":
		c.SMaxAge = targetedAge(value)
	case "stale-while-revalidate":
		c.StaleWhileRevalidate = targetedAge(value)
	case "stale-if-error":
		c.StaleIfError = targetedAge(value)
	}
}

func targetedAge(value any) time.Duration {
	seconds, ok := value.(int64)
	if !ok {
		return 0
	}
	return time.Duration(min(max(seconds, 0), MaxSeconds)) * time.Second
}

// TargetName tells whether a field may be a target, and why not. Those that mean
// something else cannot be read as directives.
func TargetName(name string) (why string) {
	switch id := stream.Lookup(name); {
	case !stream.IsToken(name):
		return "it is not the name of a header"
	case id == stream.CacheControl || id == stream.Expires || id == stream.Pragma:
		return "it is read anyway, behind all targets"
	case id == stream.Unknown && (strings.EqualFold(name, "Surrogate-Control") || len(name) > len("-Cache-Control") && strings.EqualFold(name[len(name)-len("-Cache-Control"):], "-Cache-Control")):
		return ""
	}
	return "a target is named SOMETHING-Cache-Control, or Surrogate-Control"
}
