package redistest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is what a logger writes to, for tests that wait for what it says.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed with the next line
}

// NewLog makes an empty log.
func NewLog() *Log { return &Log{more: make(chan struct{})} }

// Write adds to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

// String is all that was said.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Await waits until the log has said it n times.
func (l *Log) Await(t testing.TB, said string, n int) {
	t.Helper()
	for late := time.After(patience); ; {
		l.mu.Lock()
		count, more := strings.Count(l.text.String(), said), l.more
		l.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was said %d times, want %d:\n%s", said, count, n, l.String())
		}
	}
}
