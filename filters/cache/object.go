package cache

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// kind says what an object is.
type kind uint8

const (
	stored   kind = iota // a response
	variants             // the names by which the responses of a key differ
	marker               // the response of this key was not to be stored
)

// object is what lies under a key. It is immutable, but for texts.
type object struct {
	key    store.Key
	labels []string
	kind   kind

	// A response.
	status   int
	header   stream.Header
	body     []byte
	terms    rule.Terms
	received time.Time
	texts    atomic.Pointer[texts]

	// The names of Vary, lower case, sorted, and the keys of the responses.
	names   []string
	members []store.Key

	until time.Time // of a marker
}

// overhead is what an object costs beside its text: itself, its place in the
// store and in the index.
const overhead = 600

// Key is the key of the object.
func (o *object) Key() store.Key { return o.key }

// Labels are the URL and the tags.
func (o *object) Labels() []string { return o.labels }

// Weight is the memory that it takes.
func (o *object) Weight() uint32 {
	n := overhead + len(o.body) + len(o.members)*len(store.Key{})
	for _, label := range o.labels {
		n += len(label) + 64
	}
	for _, f := range o.header.Fields() {
		n += len(f.Name) + len(f.Value) + 40
	}
	for _, name := range o.names {
		n += len(name) + 16
	}
	return uint32(min(n, 1<<31)) //nolint:gosec // bounded here
}

// age is how old the response is (RFC 9111 section 4.2.3).
func (o *object) age(now time.Time) time.Duration {
	return o.terms.InitialAge + max(now.Sub(o.received), 0)
}

// url is what purges call it.
func (o *object) url() string {
	text, _ := store.TextOf(o.labels[0])
	return text
}

// tags are those of its maker.
func (o *object) tags() []string {
	if len(o.labels) == 1 {
		return nil
	}
	tags := make([]string, 0, len(o.labels)-1)
	for _, label := range o.labels[1:] {
		tag, _ := store.TextOf(label)
		tags = append(tags, tag)
	}
	return tags
}

// labelsOf are the labels of a response.
func labelsOf(url string, tags []string) []string {
	labels := make([]string, 0, 1+len(tags))
	labels = append(labels, store.URLLabel(url))
	for _, tag := range tags {
		labels = append(labels, store.TagLabel(tag))
	}
	return labels
}

// keptHeader is a copy of a header as it is stored: in memory of its own, in one
// piece, without what is made anew for each response (Age) or is meant for this
// cache alone (RFC 9111 section 3.1, and the tags).
func keptHeader(h *stream.Header, passTags, hasDate bool, now time.Time) stream.Header {
	var text strings.Builder
	length := 0
	fields := h.Fields()
	for i := range fields {
		length += len(fields[i].Name) + len(fields[i].Value)
	}
	text.Grow(length)
	var kept stream.Header
	kept.Grow(len(fields) + 1)
	for i := range fields {
		f := &fields[i]
		if !isKept(f, passTags) {
			continue
		}
		name := f.ID.String()
		if name != f.Name {
			name = pen(&text, f.Name)
		}
		kept.Append(stream.Field{Name: name, Value: pen(&text, f.Value), ID: f.ID})
	}
	if !hasDate { // RFC 9110 section 6.6.1
		kept.AddID(stream.Date, rule.Date(now))
	}
	return kept
}

// pen writes s, for which there is room, and returns it as a part of the whole.
func pen(text *strings.Builder, s string) string {
	at := text.Len()
	text.WriteString(s)
	return text.String()[at:]
}

func isKept(f *stream.Field, passTags bool) bool {
	switch f.ID {
	case stream.Age, stream.ProxyAuthenticate, stream.ProxyAuthorization, stream.ProxyStatus, stream.Connection:
		return false
	case stream.Unknown:
		return passTags || !rule.IsTagField(f)
	}
	return true
}

// with is the object with its content.
func (o *object) with(content []byte) *object {
	return &object{
		key: o.key, labels: o.labels, status: o.status, header: o.header, body: content, terms: o.terms, received: o.received,
	}
}
