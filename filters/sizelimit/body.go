package sizelimit

import "github.com/weirproxy/weir/stream"

// bounded is a body that breaks off when it gets too long.
type bounded struct {
	stream.Body
	limit *limit
	left  int64
	over  bool
}

var (
	_ stream.Prefetcher = (*bounded)(nil)
	_ stream.Announcer  = (*bounded)(nil)
	_ stream.Awaiter    = (*bounded)(nil)
)

func (b *bounded) Read(p []byte) (int, error) {
	if b.over && !b.limit.shadow {
		return 0, b.limit.fault()
	}
	n, err := b.Body.Read(p)
	b.left -= int64(n)
	if b.left >= 0 || b.over {
		return n, err
	}
	b.over = true
	b.limit.over.Add(1)
	if b.limit.shadow {
		return n, err
	}
	return n + int(b.left), b.limit.fault() // what fits has been promised to nobody, but does no harm
}

// Bytes are those of the source, unless they are too many.
func (b *bounded) Bytes() ([]byte, bool) {
	whole, ok := b.Body.(stream.Whole)
	if !ok || b.over {
		return nil, false
	}
	content, ok := whole.Bytes()
	if !ok || int64(len(content)) > b.left {
		return nil, false // Read says why
	}
	return content, true
}

// Prefetch is that of the source.
func (b *bounded) Prefetch(limit int) error {
	if p, ok := b.Body.(stream.Prefetcher); ok {
		return p.Prefetch(limit)
	}
	return nil
}

// Announced is what the source announces.
func (b *bounded) Announced() string {
	if a, ok := b.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await waits for the source.
func (b *bounded) Await() error {
	if a, ok := b.Body.(stream.Awaiter); ok && !b.over {
		return a.Await()
	}
	return nil
}
