package rule

import (
	"strconv"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// StartOf is where a Range of one part begins, as far as that can be said without
// the length of the content.
func StartOf(field string) (start int64, ok bool) {
	part, wanted := RangeOf(field, maxPosition)
	_, set, _ := strings.Cut(field, "=")
	if wanted != OnePart || strings.HasPrefix(trim(set), "-") {
		return 0, false
	}
	return part.Start, true
}

// AskFor is the Range that asks for a part.
func AskFor(p Part) string {
	return "bytes=" + strconv.FormatInt(p.Start, 10) + "-" + strconv.FormatInt(p.End-1, 10)
}

// ContentRange is what a 206 says that it is.
type ContentRange struct {
	Part
	Length int64 // of all
}

// ContentRangeOf reads the one Content-Range of a response whose length is known
// (RFC 9110 section 14.4). What contradicts itself is none.
func ContentRangeOf(h *stream.Header) (c ContentRange, ok bool) {
	if h.Count("Content-Range") != 1 {
		return c, false
	}
	value, _ := h.GetID(stream.ContentRange)
	set, unit := strings.CutPrefix(value, "bytes ")
	part, length, found := strings.Cut(set, "/")
	first, last, ranged := strings.Cut(part, "-")
	if !unit || !found || !ranged {
		return c, false
	}
	start, ok1 := position(first)
	end, ok2 := position(last)
	all, ok3 := position(length)
	if !ok1 || !ok2 || !ok3 || start > end || end >= all || all >= maxPosition {
		return c, false
	}
	return ContentRange{Part{start, end + 1}, all}, true
}

// StrongTag is the entity tag by which parts are known to belong together (RFC
// 9111 section 3.4, RFC 9110 section 8.8.1). A date is none: it may be the same
// for two versions.
func StrongTag(h *stream.Header) (tag string, ok bool) {
	tag, _ = h.GetID(stream.ETag)
	return tag, len(tag) >= 2 && tag[0] == '"' && tag[len(tag)-1] == '"' && h.Count("ETag") == 1
}

// PartOf is the length of all content and the strong tag of a 206; ok is false
// when it is not the part that was asked for, cut where the content ends, or does
// not say to what it belongs.
func PartOf(resp *stream.Response, asked Part) (length int64, tag string, ok bool) {
	c, ranged := ContentRangeOf(&resp.Header)
	tag, tagged := StrongTag(&resp.Header)
	ok = resp.Status == 206 && ranged && tagged &&
		c.Start == asked.Start && c.End == min(asked.End, c.Length) && resp.Length == c.End-c.Start
	return c.Length, tag, ok
}

// AsWhole is the part that was asked for as if all of the content had come, to be
// judged by the rules for that.
func AsWhole(resp *stream.Response, asked Part) (whole *stream.Response, ok bool) {
	if _, _, ok := PartOf(resp, asked); !ok {
		return nil, false
	}
	whole = &stream.Response{Status: 200, Header: resp.Header.Clone(), Body: resp.Body, Length: resp.Length}
	whole.Header.DelFunc(func(f *stream.Field) bool { return f.ID == stream.ContentRange })
	return whole, true
}
