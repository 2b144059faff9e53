package compress

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// coding is a content coding that the filter speaks.
type coding uint8

const (
	zstdCoding coding = iota
	brCoding
	gzipCoding
	numCodings
	identity = numCodings // no coding
)

var codingNames = [numCodings]string{"zstd", "br", "gzip"}

func (c coding) String() string { return codingNames[c] }

// codingOf is the coding of that name, in any case; x-gzip is gzip (RFC 9110
// section 8.4.1.3).
func codingOf(name string) (coding, bool) {
	for c, known := range codingNames {
		if stream.EqualFold(name, known) {
			return coding(c), true
		}
	}
	if stream.EqualFold(name, "x-gzip") {
		return gzipCoding, true
	}
	return 0, false
}

// accepts holds, for each coding and for identity, the weight that a client
// gives it in thousandths; unsaid where it says nothing. The zero value says
// that only identity is wanted.
type accepts struct {
	weight [numCodings + 1]int16
}

const unsaid = -1

// acceptsOf reads Accept-Encoding (RFC 9110 section 12.5.3). What is malformed
// counts as not said, and of two weights for one coding the first: when in
// doubt, content is sent as it is. No field at all allows any coding by the
// letter; such clients rarely decode one, so they get none.
func acceptsOf(h *stream.Header) accepts {
	var a accepts
	for i := range a.weight {
		a.weight[i] = unsaid
	}
	others, found := int16(unsaid), false
	fields := h.Fields()
	for i := range fields {
		if fields[i].ID != stream.AcceptEncoding {
			continue
		}
		found = true
		a.list(fields[i].Value, &others)
	}
	for i := range a.weight {
		switch {
		case a.weight[i] != unsaid:
		case i == int(identity) && (others == unsaid || others > 0):
			a.weight[i] = 1 // acceptable unless it is excluded, and liked least
		case !found, others == unsaid:
			a.weight[i] = 0
		default:
			a.weight[i] = others
		}
	}
	return a
}

// list reads one field.
func (a *accepts) list(value string, others *int16) {
	for rest := value; rest != ""; {
		var member string
		member, rest, _ = strings.Cut(rest, ",")
		name, params, weighted := strings.Cut(member, ";")
		name = trim(name)
		weight, ok := int16(1000), true
		if weighted {
			weight, ok = quality(params)
		}
		if !ok {
			continue
		}
		slot := others
		if c, known := codingOf(name); known {
			slot = &a.weight[c]
		} else if stream.EqualFold(name, "identity") {
			slot = &a.weight[identity]
		} else if name != "*" {
			continue
		}
		if *slot == unsaid {
			*slot = weight
		}
	}
}

// choose is the coding to use, identity when none is better. order lists the
// codings that may be used; among equals the first counts.
func (a *accepts) choose(order []coding) coding {
	best, weight := identity, a.weight[identity]
	for _, c := range order {
		// A coding as good as identity is used: it is what the filter is for.
		if w := a.weight[c]; w > weight || w == weight && w > 0 && best == identity {
			best, weight = c, w
		}
	}
	return best
}

// quality reads "q=0.5" in thousandths (RFC 9110 section 12.4.2).
func quality(params string) (int16, bool) {
	name, value, found := strings.Cut(params, "=")
	if name = trim(name); !found || !stream.EqualFold(name, "q") {
		return 0, false
	}
	value = trim(value)
	if value == "" || len(value) > len("0.123") || value[0] != '0' && value[0] != '1' || len(value) > 1 && value[1] != '.' {
		return 0, false
	}
	n, unit := int16(value[0]-'0')*1000, int16(100)
	for i := 2; i < len(value); i++ {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n += int16(value[i]-'0') * unit
		unit /= 10
	}
	return n, n <= 1000
}

// trim takes the blanks of RFC 9110 section 5.6.3 off both ends.
func trim(s string) string { return strings.Trim(s, " \t") }

// hasMember tells whether a comma-separated list has the member, in any case,
// with or without a parameter.
func hasMember(list, member string) bool {
	for rest := list; rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, ",")
		if end := strings.IndexAny(one, "=;"); end >= 0 {
			one = one[:end]
		}
		if stream.EqualFold(trim(one), member) {
			return true
		}
	}
	return false
}
