package route

import (
	"strings"

	"github.com/weirproxy/weir/internal/snapshot"
)

// holdsTemplate tells whether a path is as the segments say. {name} takes one
// segment that is not empty; {name...} takes the rest, which may be one empty
// segment ("/a/{rest...}" holds for "/a/" and not for "/a").
func holdsTemplate(segments []snapshot.Segment, path string) bool {
	if !isPath(path) {
		return false
	}
	rest, more := path[1:], true
	for _, want := range segments {
		if !more {
			return false
		}
		if want.Rest {
			return true
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if want.Name != "" && segment == "" || want.Name == "" && segment != want.Literal {
			return false
		}
	}
	return !more
}

// segmentAt is the text of the i-th segment of a path, and with rest that of
// all behind it too.
func segmentAt(path string, i int, rest bool) string {
	for path = path[1:]; i > 0; i-- {
		_, path, _ = strings.Cut(path, "/")
	}
	if rest {
		return path
	}
	segment, _, _ := strings.Cut(path, "/")
	return segment
}
