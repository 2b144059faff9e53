package rule

import (
	"strings"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Conditions are those of a client, which the cache answers itself when it has
// the response (RFC 9111 section 4.3.2).
type Conditions struct {
	IfNoneMatch, IfModifiedSince string
	IfMatch, IfUnmodifiedSince   bool // for the origin (section 4.3.2, last point)
	Range, IfRange               string
}

// ConditionsOf reads them.
func ConditionsOf(h *stream.Header) Conditions {
	var c Conditions
	fields := h.Fields()
	for i := range fields {
		switch f := &fields[i]; f.ID {
		case stream.IfNoneMatch:
			if c.IfNoneMatch != "" {
				c.IfNoneMatch += ","
			}
			c.IfNoneMatch += f.Value
		case stream.IfModifiedSince:
			c.IfModifiedSince = f.Value
		case stream.IfMatch:
			c.IfMatch = true
		case stream.IfUnmodifiedSince:
			c.IfUnmodifiedSince = true
		case stream.Range:
			c.Range = f.Value
		case stream.IfRange:
			c.IfRange = f.Value
		}
	}
	return c
}

// Any tells whether there is one.
func (c *Conditions) Any() bool { return *c != Conditions{} }

// NotModified tells whether the client holds what h describes already, so that
// a 304 is the answer (RFC 9110 section 13.2.2). Only 200 has conditions here.
func (c *Conditions) NotModified(status int, h *stream.Header) bool {
	if status != 200 {
		return false
	}
	if c.IfNoneMatch != "" {
		if trim(c.IfNoneMatch) == "*" {
			return true
		}
		tag, ok := h.GetID(stream.ETag)
		return ok && MatchesTag(c.IfNoneMatch, tag)
	}
	if c.IfModifiedSince == "" {
		return false
	}
	since, ok := ParseDate(c.IfModifiedSince)
	modified, known := modifiedOf(h)
	return ok && known && !modified.After(since)
}

func modifiedOf(h *stream.Header) (time.Time, bool) {
	value, ok := h.GetID(stream.LastModified)
	if !ok {
		return time.Time{}, false
	}
	return ParseDate(value)
}

// MatchesTag compares a list of entity tags with one, weakly (RFC 9110 section
// 8.8.3.2). A comma may stand inside of a tag.
func MatchesTag(list, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	if tag == "" {
		return false
	}
	for member := range members(list) {
		if strings.TrimPrefix(member, "W/") == tag {
			return true
		}
	}
	return false
}

// RangeHolds tells whether If-Range, if there is one, lets the range be sent
// (RFC 9110 section 13.1.5): by strong comparison. A date counts only when the
// stored one is exactly it.
func (c *Conditions) RangeHolds(h *stream.Header) bool {
	if c.IfRange == "" {
		return true
	}
	if strings.HasPrefix(c.IfRange, `"`) {
		tag, ok := h.GetID(stream.ETag)
		return ok && tag == c.IfRange
	}
	if strings.HasPrefix(c.IfRange, "W/") {
		return false
	}
	modified, ok := modifiedOf(h)
	since, valid := ParseDate(c.IfRange)
	made, dated := h.GetID(stream.Date)
	date, known := ParseDate(made)
	// A date is strong when it lies a second before the response (section 8.8.2.2).
	return ok && valid && dated && known && modified.Equal(since) && date.Sub(modified) >= time.Second
}

// StripConditions takes out of a request what would keep the whole response
// from coming.
func StripConditions(h *stream.Header) {
	h.DelFunc(func(f *stream.Field) bool {
		switch f.ID {
		case stream.IfNoneMatch, stream.IfModifiedSince, stream.IfRange, stream.Range:
			return true
		}
		return false
	})
}

// AskAbout makes a request ask whether stored is still good (RFC 9111 section
// 4.3.1).
func AskAbout(request, stored *stream.Header) {
	StripConditions(request)
	if tag, ok := stored.GetID(stream.ETag); ok {
		request.AddID(stream.IfNoneMatch, tag)
	}
	if modified, ok := stored.GetID(stream.LastModified); ok {
		request.AddID(stream.IfModifiedSince, modified)
	}
}

// Confirms tells whether a 304 is about stored (section 4.3.4): a validator
// that it has must be the same.
func Confirms(notModified, stored *stream.Header) bool {
	if tag, ok := notModified.GetID(stream.ETag); ok {
		own, known := stored.GetID(stream.ETag)
		return known && strings.TrimPrefix(own, "W/") == strings.TrimPrefix(tag, "W/")
	}
	if modified, ok := notModified.GetID(stream.LastModified); ok {
		own, known := stored.GetID(stream.LastModified)
		return known && own == modified
	}
	return true
}

// Freshen is the stored header with the fields of a 304 in the place of its own
// (section 3.2). What describes the content stays: the 304 has none.
func Freshen(stored, notModified *stream.Header) stream.Header {
	fresh := stored.Clone()
	fresh.DelFunc(func(f *stream.Field) bool {
		return !describesContent(f) && notModified.Count(f.Name) > 0
	})
	fields := notModified.Fields()
	for i := range fields {
		if !describesContent(&fields[i]) {
			fresh.Append(fields[i])
		}
	}
	return fresh
}

func describesContent(f *stream.Field) bool {
	switch f.ID {
	case stream.ContentEncoding, stream.ContentType, stream.ContentRange, stream.ContentLength, stream.ETag:
		return true
	}
	return false
}

// SameContent tells whether the answer to a HEAD is about what is stored (RFC
// 9111 section 4.3.5): what it says of validators and length is the same.
func SameContent(head, stored *stream.Header, length, storedLength int64) bool {
	for _, id := range [...]stream.ID{stream.ETag, stream.LastModified} {
		value, ok := head.GetID(id)
		if own, _ := stored.GetID(id); ok && value != own {
			return false
		}
	}
	return length < 0 || length == storedLength
}
