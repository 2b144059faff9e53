package rule

import "time"

// Use is what a kept response is good for at a moment.
type Use uint8

// The uses.
const (
	Fresh    Use = iota // as it is
	Refresh             // as it is, while a new one is fetched (RFC 5861 section 3)
	Ask                 // only after the upstream has confirmed it (RFC 9111 section 4.3)
	Accepted            // stale, and the client takes it (section 5.2.1.2)
)

// UseAt says what a kept response of that age is good for. wish is nil when the
// wishes of clients are not honoured.
func (t *Terms) UseAt(age time.Duration, wish *Wish) Use {
	if t.Validate {
		return Ask
	}
	if wish != nil {
		if wish.NoCache || wish.MaxAge != None && age > wish.MaxAge && wish.MaxStale == None {
			return Ask // sections 5.2.1.4 and 5.2.1.1
		}
		if wish.MinFresh != None && t.Lifetime-age < wish.MinFresh { // section 5.2.1.3
			return Ask
		}
	}
	switch {
	case age < t.Lifetime:
		return Fresh
	case age < t.Lifetime+t.StaleWhileRevalidate:
		return Refresh
	case wish != nil && wish.MaxStale != None && !t.Strict && age-t.Lifetime <= wish.MaxStale:
		return Accepted
	}
	return Ask
}

// UsableOnError tells whether it may be used at that age when the upstream
// cannot answer (RFC 5861 section 4).
func (t *Terms) UsableOnError(age time.Duration) bool {
	if t.Validate || t.Strict {
		return false
	}
	return age < t.Lifetime+max(t.StaleIfError, t.StaleWhileRevalidate)
}

// ServerError: the status codes that stale-if-error is about.
func ServerError(status int) bool { return status == 500 || status >= 502 && status <= 504 }

// Unsafe tells whether a method may change what the URI stands for (RFC 9111
// section 4.4). One that nobody knows may.
func Unsafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "CONNECT":
		return false
	}
	return true
}
