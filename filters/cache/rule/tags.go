package rule

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// The bounds of tags: an upstream that sends more makes no larger index.
const (
	maxTags      = 128
	maxTagLength = 256
)

// TagsOf reads the tags of a response: Surrogate-Key, separated by blanks, and
// Cache-Tag, separated by commas or blanks. ok is false when there are too many
// or one is too long: a response that cannot be purged as it should is not kept.
func TagsOf(h *stream.Header) (tags []string, ok bool) {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if !IsTagField(f) {
			continue
		}
		for _, tag := range strings.FieldsFunc(f.Value, separatesTags) {
			if len(tag) > maxTagLength || len(tags) == maxTags {
				return nil, false
			}
			tags = append(tags, tag)
		}
	}
	return tags, true
}

// IsTagField: the fields are for caches, and clients do not see them.
func IsTagField(f *stream.Field) bool {
	return f.ID == stream.Unknown && (stream.EqualFold(f.Name, "Surrogate-Key") || stream.EqualFold(f.Name, "Cache-Tag"))
}

func separatesTags(r rune) bool { return r == ' ' || r == ',' || r == '\t' }
