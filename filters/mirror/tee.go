package mirror

import (
	"io"
	"sync"

	"github.com/weirproxy/weir/stream"
)

// tee keeps what is read of a body, which passes as it would without. When the
// body has ended, or cannot be kept, it tells so once.
//
// Read may run on another goroutine than Close: an upstream may answer before it
// has the whole request.
type tee struct {
	stream.Body
	length int64 // of the content; -1: not known
	limit  int

	mu    sync.Mutex
	stock stock
	over  bool
	// end gets the content, or why there is none. The stock is its own.
	end func(content stock, why reason)
}

var (
	_ stream.Prefetcher = (*tee)(nil)
	_ stream.Announcer  = (*tee)(nil)
	_ stream.Awaiter    = (*tee)(nil)
)

// newTee keeps up to limit bytes of body, whose length is known (or -1).
func newTee(body stream.Body, length int64, limit int, b *budget, end func(stock, reason)) *tee {
	t := &tee{Body: body, length: length, limit: limit, stock: stock{budget: b}, end: end}
	switch {
	case length > int64(limit):
		t.finish(bodyTooLarge)
	case length > 0 && !t.stock.reserve(int(length)):
		t.finish(overBytes)
	}
	return t
}

// Read implements stream.Body.
func (t *tee) Read(p []byte) (int, error) {
	n, err := t.Body.Read(p)
	t.took(p[:n], err)
	return n, err
}

// Bytes implements stream.Whole. Who asks may not read what it was shown.
func (t *tee) Bytes() ([]byte, bool) {
	w, ok := t.Body.(stream.Whole)
	if !ok {
		return nil, false
	}
	rest, ok := w.Bytes()
	if ok {
		t.took(rest, io.EOF)
	}
	return rest, ok
}

// Prefetch implements stream.Prefetcher.
func (t *tee) Prefetch(limit int) error {
	if p, ok := t.Body.(stream.Prefetcher); ok {
		return p.Prefetch(limit)
	}
	return nil
}

// Announced implements stream.Announcer.
func (t *tee) Announced() string {
	if a, ok := t.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await implements stream.Awaiter.
func (t *tee) Await() error {
	if a, ok := t.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}

// Close implements stream.Body.
func (t *tee) Close() error {
	t.finish(bodyIncomplete)
	return t.Body.Close()
}

// took keeps what was read.
func (t *tee) took(p []byte, err error) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	v := t.stock.add(p, t.limit)
	ended := err == io.EOF || t.length > 0 && int64(len(t.stock.bytes)) == t.length // nobody need read on then
	t.mu.Unlock()
	switch {
	case v == tooLarge:
		t.finish(bodyTooLarge)
	case v == tooDear:
		t.finish(overBytes)
	case ended:
		t.finish(none)
	case err != nil:
		t.finish(bodyIncomplete)
	}
}

// finish ends the keeping: with the content when why is none.
func (t *tee) finish(why reason) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	t.over = true
	content := t.stock
	t.stock = stock{}
	t.mu.Unlock()
	if why != none {
		content.free()
		content = stock{}
	}
	t.end(content, why)
}
