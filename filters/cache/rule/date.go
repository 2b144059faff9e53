package rule

import "time"

// imfDate is the form in which dates are written (RFC 9110 section 5.6.7).
const imfDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// Date writes a time as a field value.
func Date(t time.Time) string { return t.UTC().Format(imfDate) }

// ParseDate reads the three forms of RFC 9110 section 5.6.7.
func ParseDate(s string) (time.Time, bool) {
	if len(s) > len("Wednesday, 02-Jan-06 15:04:05 GMT") {
		return time.Time{}, false
	}
	for _, form := range [...]string{imfDate, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// between is b-a in whole, bounded, never negative time.
func between(a, b time.Time) time.Duration { return min(max(b.Sub(a), 0), maxTime) }
