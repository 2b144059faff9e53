package mirror

import (
	"io"
	"sync/atomic"

	"github.com/weirproxy/weir/stream"
)

// messages are the content of the primary's response to a call of gRPC, whose
// status stands behind it. They pass, and nothing of them is kept.
type messages struct {
	stream.Body
	pair  *pair
	facts facts
	over  atomic.Bool // Close may come while another goroutine reads
}

var (
	_ stream.Announcer = (*messages)(nil)
	_ stream.Awaiter   = (*messages)(nil)
)

// Read implements stream.Body.
func (m *messages) Read(p []byte) (int, error) {
	n, err := m.Body.Read(p)
	switch {
	case err == io.EOF:
		m.settle(callOf(m.Trailer()), nothing)
	case err != nil:
		m.settle(noStatus, primaryFailed)
	}
	return n, err
}

// Close implements stream.Body. A call that is given up has no status.
func (m *messages) Close() error {
	m.settle(noStatus, primaryFailed)
	return m.Body.Close()
}

func (m *messages) settle(call int, why missing) {
	if m.over.Swap(true) {
		return
	}
	a := m.facts
	a.call, a.missing = call, why
	m.pair.settle(&m.pair.primary, a)
}

// Announced implements stream.Announcer.
func (m *messages) Announced() string {
	if a, ok := m.Body.(stream.Announcer); ok {
		return a.Announced()
	}
	return ""
}

// Await implements stream.Awaiter.
func (m *messages) Await() error {
	if a, ok := m.Body.(stream.Awaiter); ok {
		return a.Await()
	}
	return nil
}
