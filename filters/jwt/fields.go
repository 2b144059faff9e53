package jwt

import (
	"encoding/base64"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// told is a header that tells the upstream a claim.
type told struct {
	name  string
	claim stream.ClaimName
}

// fieldsOf are the fields that tell the upstream who asks. They are made once for
// a token.
func (s *service) fieldsOf(c *stream.Claims, payload []byte) []stream.Field {
	var fields []stream.Field
	for i := range s.told {
		h := &s.told[i]
		if claim, ok := c.At(h.claim); ok {
			if value, ok := fieldValue(&claim); ok {
				fields = append(fields, stream.Field{Name: h.name, ID: stream.Lookup(h.name), Value: value})
			}
		}
	}
	if s.payload != "" {
		fields = append(fields, stream.Field{Name: s.payload, ID: stream.Lookup(s.payload), Value: base64.RawURLEncoding.EncodeToString(payload)})
	}
	return fields
}

// fieldValue is a claim as it stands in a header. What cannot stand there as it
// is is left out, instead of changed into what another user may be called.
func fieldValue(c *stream.Claim) (string, bool) {
	switch c.Kind {
	case stream.TextClaim:
		return c.Text, c.Text != "" && stream.BadValueByte(c.Text) < 0
	case stream.ListClaim:
		texts := make([]string, len(c.Items))
		for i := range c.Items {
			text, ok := fieldValue(&c.Items[i])
			if !ok || c.Items[i].Kind != stream.TextClaim || strings.Contains(text, ",") {
				return "", false
			}
			texts[i] = text
		}
		return strings.Join(texts, ","), len(texts) > 0
	}
	return "", false
}

// claimed tells whether a field has a name by which the upstream is told who
// asks, in any spelling that an upstream may take for it.
func (s *service) claimed(name string) bool {
	for i := range s.told {
		if stream.EqualLoose(s.told[i].name, name) {
			return true
		}
	}
	return s.payload != "" && stream.EqualLoose(s.payload, name)
}

// strip removes what the client says about who it is, in the header and in what
// may come behind the content.
func (s *service) strip(req *stream.Request) {
	if len(s.told) == 0 && s.payload == "" {
		return
	}
	fields := req.Header.Fields()
	for i := range fields {
		if s.claimed(fields[i].Name) {
			req.Header.DelFunc(func(f *stream.Field) bool { return s.claimed(f.Name) })
			break
		}
	}
	if whole, ok := req.Body.(stream.Whole); ok {
		if _, complete := whole.Bytes(); complete {
			return // no trailer follows
		}
	}
	req.Body = &stripped{Body: req.Body, claimed: s.claimed}
}

// stripped is a request body whose trailer says nothing about who asks.
type stripped struct {
	stream.Body
	claimed func(name string) bool
	trailer *stream.Header
}

var (
	_ stream.Prefetcher = (*stripped)(nil)
	_ stream.Announcer  = (*stripped)(nil)
	_ stream.Awaiter    = (*stripped)(nil)
)

// Trailer is that of the source without what was stripped.
func (b *stripped) Trailer() *stream.Header {
	came := b.Body.Trailer()
	if came == nil || b.trailer != nil {
		return b.trailer
	}
	own := came.Clone()
	own.DelFunc(func(f *stream.Field) bool { return b.claimed(f.Name) })
	b.trailer = &own
	return b.trailer
}

// Bytes are those of the source.
func (b *stripped) Bytes() ([]byte, bool) {
	if whole, ok := b.Body.(stream.Whole); ok {
		return whole.Bytes()
	}
	return nil, false
}

// Prefetch is that of the source.
func (b *stripped) Prefetch(limit int) error {
	if p, ok := b.Body.(stream.Prefetcher); ok {
		return p.Prefetch(limit)
	}
	return nil
}

// Announced is what the source announces, without what was stripped.
func (b *stripped) Announced() string {
	a, ok := b.Body.(stream.Announcer)
	if !ok {
		return ""
	}
	var kept []string
	for _, name := range strings.Split(a.Announced(), ",") {
		if name = strings.Trim(name, " \t"); name != "" && !b.claimed(name) {
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, ", ")
}

// Await waits for the source.
func (b *stripped) Await() error {
	if a, ok := b.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}
