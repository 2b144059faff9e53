package rule

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// maxVaryNames bounds the names by which one response varies.
const maxVaryNames = 16

// VaryOf is the list of names in Vary, lower case, sorted, without repetition.
// ok is false for "*", for what is no name, and for too many (RFC 9111 section
// 4.1): such a response matches no later request.
func VaryOf(h *stream.Header) (names []string, ok bool) {
	for value := range values(h, stream.Vary) {
		for member := range members(value) {
			if !stream.IsToken(member) || member == "*" || len(names) == maxVaryNames {
				return nil, false
			}
			name := strings.ToLower(member)
			if at, found := slices.BinarySearch(names, name); !found {
				names = slices.Insert(names, at, name)
			}
		}
	}
	return names, true
}

// Union is both lists, each sorted; ok is false when it is too long.
func Union(a, b []string) (names []string, ok bool) {
	names = slices.Clone(a)
	for _, name := range b {
		if at, found := slices.BinarySearch(names, name); !found {
			names = slices.Insert(names, at, name)
		}
	}
	return names, len(names) <= maxVaryNames
}

// codings are the content codings that servers choose from. What else clients
// name is not told apart, so that the many spellings of Accept-Encoding make a
// handful of variants.
var codings = [...]string{"br", "deflate", "gzip", "zstd"}

// AppendCodings appends the canonical form of an Accept-Encoding: those of the
// usual codings that it accepts, in order, with a mark where a weight says more
// than yes. Two values with one form ask for the same.
func AppendCodings(dst []byte, value string) []byte {
	for i, name := range codings {
		switch weight := codingWeight(value, name); {
		case weight == "", isZero(weight):
		default:
			dst = append(dst, byte('a'+i))
			if weight != "1" {
				dst = append(append(dst, '='), weight...)
			}
		}
	}
	// A server may be told to send nothing but codings, or anything at all.
	for i, name := range [...]string{"identity", "*"} {
		if weight := codingWeight(value, name); weight != "" {
			dst = append(append(append(dst, byte('y'+i)), '='), weight...)
		}
	}
	return dst
}

// codingWeight is the weight of a coding as it is written, "1" when none is, ""
// when the coding is not named.
func codingWeight(value, coding string) string {
	for member := range members(value) {
		name, params, weighted := strings.Cut(member, ";")
		if name = trim(name); !stream.EqualFold(name, coding) && (coding != "gzip" || !stream.EqualFold(name, "x-gzip")) {
			continue
		}
		if !weighted {
			return "1"
		}
		_, weight, _ := strings.Cut(params, "=")
		if weight = trim(weight); weight == "" || weight == "1.0" || weight == "1.00" || weight == "1.000" {
			return "1"
		}
		return weight
	}
	return ""
}

func isZero(weight string) bool { return strings.Trim(weight, "0.") == "" }
