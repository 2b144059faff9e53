package listener

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

// scripted is a net.Listener whose Accept gives what the test sends.
type scripted struct {
	results chan any // net.Conn or error
	closed  chan struct{}
}

func newScripted() *scripted {
	return &scripted{results: make(chan any), closed: make(chan struct{})}
}

func (s *scripted) Accept() (net.Conn, error) {
	select {
	case r := <-s.results:
		if nc, ok := r.(net.Conn); ok {
			return nc, nil
		}
		return nil, r.(error)
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *scripted) Close() error   { close(s.closed); return nil }
func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptErrorsBackOff(t *testing.T) {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ECONNABORTED, errors.New("unheard of")} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := newScripted()
				l := newListener(Config{Log: quietLog()}, script)
				served := make(chan error, 1)
				go func() { served <- l.Serve(func(net.Conn, *stream.Conn) {}) }()

				// The wait after a failure is seen as the time until the next Accept.
				script.results <- &net.OpError{Op: "accept", Err: errno}
				for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
					since := time.Now()
					script.results <- errno
					if got := time.Since(since); got != want*time.Millisecond {
						t.Errorf("wait %d took %v, want %v", i, got, want*time.Millisecond)
					}
				}
				if n := l.Stats.AcceptErrors.Load(); n != 11 {
					t.Errorf("%d accept errors counted, want 11", n)
				}

				ours, theirs := net.Pipe()
				script.results <- ours // after it the back-off begins anew
				theirs.Close()
				script.results <- errno
				since := time.Now()
				script.results <- errno
				if got := time.Since(since); got != minBackOff {
					t.Errorf("after a success the wait is %v, want %v", got, minBackOff)
				}

				l.Stop() // ends the back-off at once
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
				if err := l.Wait(t.Context()); err != nil {
					t.Errorf("Wait: %v", err)
				}
			})
		})
	}
}

// TestRoomIsGivenBack: after the end of a connection there is room for one
// more.
func TestRoomIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(Config{MaxConnections: 1, MaxPerClient: 1, Log: quietLog()}, newScripted())
		l.SetHandler(echo)
		for range 3 {
			ours, theirs := net.Pipe()
			if refused := l.admit(ours); refused != "" {
				t.Fatalf("refused by %s", refused)
			}
			theirs.Close()
			synctest.Wait()
			if n := l.Stats.Open.Load(); n != 0 {
				t.Fatalf("%d open", n)
			}
		}
	})
}

// TestClosedUnderneath: a socket that something else closed is an error, not
// an endless loop.
func TestClosedUnderneath(t *testing.T) {
	script := newScripted()
	l := newListener(Config{Log: quietLog()}, script)
	close(script.closed)
	if err := l.Serve(echo); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := newListener(Config{MaxConnections: 1000, MaxPerClient: 1000, Log: quietLog()}, newScripted())
	ended := make(chan struct{})
	l.SetHandler(func(net.Conn, *stream.Conn) { ended <- struct{}{} })
	ours, theirs := net.Pipe()
	defer theirs.Close()
	b.ReportAllocs()
	for b.Loop() {
		if l.admit(ours) != "" {
			b.Fatal("refused")
		}
		<-ended
	}
}
