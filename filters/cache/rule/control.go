package rule

import (
	"strings"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Control is the Cache-Control of a response (RFC 9111 section 5.2.2, RFC 5861).
// The forms of private and no-cache that name fields are read as those without:
// more is kept back than was asked for, never less.
type Control struct {
	Targeted                          bool // it is of a field for this cache: Expires does not count beside it
	NoStore, NoCache, Private, Public bool
	MustRevalidate                    bool // or proxy-revalidate
	MustUnderstand                    bool
	MaxAge, SMaxAge                   time.Duration // None: not there
	StaleWhileRevalidate              time.Duration
	StaleIfError                      time.Duration
}

// ControlOf reads every Cache-Control field of a response. Of a directive that
// stands there twice the first counts (section 4.2.1). An age that is no number
// counts as 0, which is stale (same section).
func ControlOf(h *stream.Header) Control {
	c := Control{MaxAge: None, SMaxAge: None, StaleWhileRevalidate: None, StaleIfError: None}
	found := false
	for value := range values(h, stream.CacheControl) {
		found = true
		for member := range members(value) {
			c.directive(member)
		}
	}
	// Pragma has no meaning in responses (section 5.4), but who writes it and no
	// Cache-Control wants nothing kept.
	if pragma, ok := h.GetID(stream.Pragma); ok && !found && holds(pragma, "no-cache") {
		c.NoCache = true
	}
	return c
}

func (c *Control) directive(member string) {
	name, argument, _ := strings.Cut(member, "=")
	switch name = trim(name); {
	case stream.EqualFold(name, "public"):
		c.Public = true
	case stream.EqualFold(name, "private"):
		c.Private = true
	case stream.EqualFold(name, "no-store"):
		c.NoStore = true
	case stream.EqualFold(name, "no-cache"):
		c.NoCache = true
	case stream.EqualFold(name, "must-revalidate"), stream.EqualFold(name, "proxy-revalidate"):
		c.MustRevalidate = true
	case stream.EqualFold(name, "must-understand"):
		c.MustUnderstand = true
	case stream.EqualFold(name, "max-age"):
		setAge(&c.MaxAge, argument)
	case stream.EqualFold(name, "s-maxage"):
		setAge(&c.SMaxAge, argument)
	case stream.EqualFold(name, "stale-while-revalidate"):
		setAge(&c.StaleWhileRevalidate, argument)
	case stream.EqualFold(name, "stale-if-error"):
		setAge(&c.StaleIfError, argument)
	}
}

func setAge(age *time.Duration, argument string) {
	if *age != None {
		return
	}
	*age, _ = deltaSeconds(unquote(trim(argument)))
}

// holds tells whether a list has the directive, in any case.
func holds(list, directive string) bool {
	for member := range members(list) {
		name, _, _ := strings.Cut(member, "=")
		if stream.EqualFold(trim(name), directive) {
			return true
		}
	}
	return false
}

// Wish is the Cache-Control of a request (RFC 9111 section 5.2.1).
type Wish struct {
	NoStore, NoCache, OnlyIfCached bool
	MaxAge, MinFresh, MaxStale     time.Duration // None: not there
}

// WishOf reads the Cache-Control of a request, or its Pragma when there is none
// (section 5.4).
func WishOf(h *stream.Header) Wish {
	w := Wish{MaxAge: None, MinFresh: None, MaxStale: None}
	found, pragma := false, ""
	fields := h.Fields()
	for i := range fields {
		switch fields[i].ID {
		case stream.CacheControl:
			found = true
			for member := range members(fields[i].Value) {
				w.directive(member)
			}
		case stream.Pragma:
			pragma = fields[i].Value
		}
	}
	if !found && pragma != "" && holds(pragma, "no-cache") {
		w.NoCache = true
	}
	return w
}

func (w *Wish) directive(member string) {
	name, argument, hasArgument := strings.Cut(member, "=")
	switch name = trim(name); {
	case stream.EqualFold(name, "no-store"):
		w.NoStore = true
	case stream.EqualFold(name, "no-cache"):
		w.NoCache = true
	case stream.EqualFold(name, "only-if-cached"):
		w.OnlyIfCached = true
	case stream.EqualFold(name, "max-age"):
		setAge(&w.MaxAge, argument)
	case stream.EqualFold(name, "min-fresh"):
		setAge(&w.MinFresh, argument)
	case stream.EqualFold(name, "max-stale"):
		if !hasArgument { // any staleness (section 5.2.1.2)
			w.MaxStale = maxTime
			return
		}
		setAge(&w.MaxStale, argument)
	}
}
