package cache

import "github.com/weirproxy/weir/stream"

// passed is the body of a response that is not stored. The exchange with the
// upstream is not bound to the client's context, because others might have
// waited for it; it ends with the body instead.
type passed struct {
	stream.Body
	release func()
}

var (
	_ stream.Whole     = (*passed)(nil)
	_ stream.Announcer = (*passed)(nil)
	_ stream.Awaiter   = (*passed)(nil)
)

func (p *passed) Close() error {
	err := p.Body.Close()
	p.release()
	return err
}

// Bytes keeps the fast path of a body that has one.
func (p *passed) Bytes() ([]byte, bool) {
	if whole, ok := p.Body.(stream.Whole); ok {
		return whole.Bytes()
	}
	return nil, false
}

// Announced is what the upstream announces.
func (p *passed) Announced() string {
	if a, ok := p.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await waits without memory to read into.
func (p *passed) Await() error {
	if a, ok := p.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}
