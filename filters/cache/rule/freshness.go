package rule

import (
	"strings"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Times are the facts from which the age of a response is reckoned.
type Times struct {
	Requested time.Time // when the request was sent
	Received  time.Time // when its response came
}

// Lifetime is how long a response is fresh, counted from its making, and
// whether it says so (RFC 9111 section 4.2.1). heuristic is the longest time
// that is guessed from Last-Modified (section 4.2.2); 0: nothing is guessed.
func Lifetime(resp *stream.Response, c *Control, t Times, heuristic time.Duration) (lifetime time.Duration, explicit bool) {
	switch {
	case c.SMaxAge != None:
		return c.SMaxAge, true
	case c.MaxAge != None:
		return c.MaxAge, true
	}
	made := dateOf(&resp.Header, t)
	if expires, ok := resp.Header.GetID(stream.Expires); ok && !c.Targeted {
		// "0" and all that is no date is in the past (section 5.3).
		end, _ := ParseDate(expires)
		return between(made, end), true
	}
	if heuristic > 0 && (c.Public || heuristicStatus(resp.Status)) {
		if value, ok := resp.Header.GetID(stream.LastModified); ok {
			if modified, ok := ParseDate(value); ok {
				return min(between(modified, made)/10, heuristic), false
			}
		}
	}
	return 0, false
}

// dateOf is when the response was made: what it says, or when it came.
func dateOf(h *stream.Header, t Times) time.Time {
	if value, ok := h.GetID(stream.Date); ok {
		if made, ok := ParseDate(value); ok {
			return made
		}
	}
	return t.Received
}

// InitialAge is how old a response was when it came (section 4.2.3). A Date in
// the far past and an Age without end make it old, never young.
func InitialAge(h *stream.Header, t Times) time.Duration {
	apparent := between(dateOf(h, t), t.Received)
	corrected := ageOf(h) + between(t.Requested, t.Received)
	return min(max(apparent, corrected), maxTime)
}

// ageOf reads Age; the first member of a list counts, and what is no number is
// not there (section 5.1).
func ageOf(h *stream.Header) time.Duration {
	value, ok := h.GetID(stream.Age)
	if !ok {
		return 0
	}
	if comma := strings.IndexByte(value, ','); comma >= 0 {
		value = value[:comma]
	}
	age, _ := deltaSeconds(trim(value))
	return age
}

// heuristicStatus: the status codes whose responses may be kept without a word
// about it (RFC 9110 section 15.1). 206 is none here: parts are not kept.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}
