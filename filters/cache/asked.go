package cache

import (
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/stream"
)

// asked is what a request says about its response.
type asked struct {
	asker      rule.Asker
	wish       rule.Wish
	wishes     bool // there is a Cache-Control or a Pragma
	conditions bool // If-None-Match, If-Modified-Since, Range
	part       bool // Range
	slice      bool // it asks for a slice, of which its client wants a part
	forOrigin  bool // If-Match, If-Unmodified-Since: only the origin can tell
}

func read(req *stream.Request) asked {
	a := asked{asker: rule.AskerOf(req)}
	fields := req.Header.Fields()
	for i := range fields {
		switch fields[i].ID {
		case stream.CacheControl, stream.Pragma:
			a.wishes = true
		case stream.IfNoneMatch, stream.IfModifiedSince:
			a.conditions = true
		case stream.Range:
			a.conditions, a.part = true, true
		case stream.IfMatch, stream.IfUnmodifiedSince:
			a.forOrigin = true
		}
	}
	if a.wishes {
		a.wish = rule.WishOf(&req.Header)
		a.asker.NoStore = a.wish.NoStore
	}
	return a
}

// class tells requests apart whose responses are not to be shared alike, though
// they ask for the same: they do not wait for each other.
func (a *asked) class() byte {
	class := byte(0)
	if a.asker.Credentials {
		class |= 1
	}
	if a.asker.Cookie {
		class |= 2
	}
	return class
}
