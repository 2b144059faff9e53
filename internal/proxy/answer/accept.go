package answer

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

var mediaTypes = [numFormats]string{plain: "text/plain", asJSON: "application/json", asHTML: "text/html"}

// preference is how much the client wants a format: by quality, then by how
// exactly it named it, then by who stands first. Zero: not at all.
type preference struct {
	quality  int // thousandths
	exact    int // 1 "*/*", 2 "text/*", 3 "text/html"
	position int
}

// negotiate picks the format by the Accept fields (RFC 9110 section 12.5.1).
// Plain text is the choice when there is none, when nothing fits, and when one
// of them is malformed.
func negotiate(h *stream.Header) int {
	var wanted [numFormats]preference
	position := 0
	for _, f := range h.Fields() {
		if f.ID != stream.Accept {
			continue
		}
		for rest := f.Value; rest != ""; position++ {
			var media string
			media, rest, _ = strings.Cut(rest, ",")
			if !prefer(&wanted, strings.Trim(media, " \t"), position) {
				return plain
			}
		}
	}
	best := plain
	for format := range wanted {
		if wanted[format].beats(wanted[best]) {
			best = format
		}
	}
	return best
}

func (p preference) beats(q preference) bool {
	if p.quality != q.quality || p.quality == 0 {
		return p.quality > q.quality
	}
	if p.exact != q.exact {
		return p.exact > q.exact
	}
	return p.exact == 3 && p.position < q.position // a wildcard prefers nothing
}

// prefer notes one media range; it is false when that is malformed.
func prefer(wanted *[numFormats]preference, media string, position int) bool {
	if media == "" {
		return true // an empty list element, RFC 9110 section 5.6.1.2
	}
	name, params, _ := strings.Cut(media, ";")
	weight, ok := quality(params)
	name = strings.TrimRight(name, " \t")
	kind, sub, slash := strings.Cut(name, "/")
	if !ok || !slash || kind == "" || sub == "" || strings.ContainsAny(sub, "/ \t") {
		return false
	}
	for format := range wanted {
		p := preference{quality: weight, position: position, exact: matches(format, kind, sub)}
		if p.exact > wanted[format].exact { // the most exact range decides
			wanted[format] = p
		}
	}
	return true
}

func matches(format int, kind, sub string) (exact int) {
	ownKind, ownSub, _ := strings.Cut(mediaTypes[format], "/")
	switch {
	case kind == "*" && sub == "*":
		return 1
	case !stream.EqualFold(kind, ownKind):
		return 0
	case sub == "*":
		return 2
	case stream.EqualFold(sub, ownSub):
		return 3
	}
	return 0
}

// quality is the weight among the parameters of a media range, in thousandths
// (RFC 9110 section 12.4.2).
func quality(params string) (thousandths int, ok bool) {
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
		if stream.EqualFold(name, "q") {
			return parseQuality(value)
		}
	}
	return 1000, true
}

func parseQuality(s string) (thousandths int, ok bool) {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	thousandths = int(s[0]-'0') * 1000
	for i, unit := 2, 100; i < len(s); i, unit = i+1, unit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		thousandths += int(s[i]-'0') * unit
	}
	return thousandths, thousandths <= 1000
}
