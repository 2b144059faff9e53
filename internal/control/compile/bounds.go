package compile

import (
	"fmt"
	"strconv"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// index is the path of an item of a list.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// number is what the document counts with.
type number interface {
	~int | ~int64
}

// atLeast refuses a value below least.
func atLeast[N number](r *config.Report, path string, value, least N) {
	if value < least {
		r.Errorf(path, fmt.Sprintf("write %v or more", least), "%s is %v", path, value)
	}
}

// unusual warns about a value that protects nothing any more.
func unusual[N number](r *config.Report, path string, value, most N) {
	if value > most {
		r.Warnf(path, "is it a mistake?", "%s is %v, far more than usual (%v)", path, value, most)
	}
}

// needed refuses a time of 0 where it would mean a wait without end.
func needed(r *config.Report, path string, value config.Duration) {
	if value <= 0 {
		r.Errorf(path, "write a time, however long", "%s is 0: every wait has a limit", path)
	}
}

// checkToken refuses what cannot be a header name or method (RFC 9110 section 5.6.2).
func checkToken(r *config.Report, path, what, text string) {
	if !stream.IsToken(text) {
		r.Errorf(path, "write letters, digits and -", "%q is no %s", text, what)
	}
}

// equalAny compares names of header fields.
func equalAny(name string, ids ...stream.ID) bool {
	id := stream.Lookup(name)
	for _, other := range ids {
		if id == other {
			return true
		}
	}
	return false
}
