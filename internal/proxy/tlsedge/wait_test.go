package tlsedge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

// helloOf is the first flight of a client.
func helloOf(t *testing.T, cfg *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tls.Client(near, cfg).Handshake()
	}()
	defer func() { near.Close(); far.Close(); <-done }()
	hello := make([]byte, 64<<10)
	n, err := far.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// TestEveryStallEnds is the phase walker's part of the handshake (threats.md
// section 3): wherever the client stops, and however slowly it goes on, the
// handshake ends within its limit.
func TestEveryStallEnds(t *testing.T) {
	const limit = 10 * time.Second
	for _, tt := range []struct {
		name  string
		sends int // bytes of the hello; -1 all
		drip  bool
	}{
		{"nothing", 0, false},
		{"half a record header", 3, false},
		{"half a hello", 60, false},
		{"a hello and no more", -1, false},
		{"one byte per second", -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t, "ca")
				server := newSite(ca.issue([]string{"a.example"})).server(t)
				hello := helloOf(t, &tls.Config{ServerName: "a.example"})
				if tt.sends >= 0 {
					hello = hello[:tt.sends]
				}
				near, far := net.Pipe()
				drained := make(chan struct{})
				go func() { io.Copy(io.Discard, near); close(drained) }()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					if !tt.drip {
						near.Write(hello)
						return
					}
					for i := range hello {
						if _, err := near.Write(hello[i : i+1]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				begun := time.Now()
				_, err := server.Handshake(t.Context(), far, &stream.Conn{})
				if took := time.Since(begun); took < limit || took > limit+time.Second {
					t.Errorf("it took %v", took)
				}
				wantReason(t, server, err, Timeout)
				far.Close()
				near.Close()
				<-drained
				<-sent
			})
		})
	}
}

func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		server := newSite(ca.issue([]string{"a.example"})).server(t)
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		_, err := server.Handshake(ctx, far, &stream.Conn{})
		wantReason(t, server, err, Canceled)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// attempt is a handshake that runs until its client gives up.
type attempt struct {
	near net.Conn
	err  chan error
}

func begin(t *testing.T, s *Server, sent []byte) *attempt {
	near, far := net.Pipe()
	a := &attempt{near: near, err: make(chan error, 1)}
	go func() {
		_, err := s.Handshake(t.Context(), far, &stream.Conn{})
		far.Close()
		a.err <- err
	}()
	go io.Copy(io.Discard, near)
	near.Write(sent)
	synctest.Wait()
	return a
}

func (a *attempt) end() error {
	a.near.Close()
	return <-a.err
}

// TestMaxHandshakes: silent clients take no slot; one that waits for a slot
// gets it when another ends, or gives up at the limit of the handshake.
func TestMaxHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		site := newSite(ca.issue([]string{"a.example"}))
		site.Spec.MaxHandshakes = 1
		server := site.server(t)
		hello := helloOf(t, &tls.Config{ServerName: "a.example"})

		silent := begin(t, server, nil)
		holder := begin(t, server, hello)
		waiter := begin(t, server, hello)
		if n, under := server.Stats.Waiting.Load(), server.Stats.Underway.Load(); n != 1 || under != 3 {
			t.Fatalf("%d waiting, %d under way", n, under)
		}
		holder.end()
		synctest.Wait()
		if n := server.Stats.Waiting.Load(); n != 0 {
			t.Fatalf("%d waiting after the slot was free", n)
		}
		late := begin(t, server, hello)
		if n := server.Stats.Waiting.Load(); n != 1 {
			t.Fatalf("%d waiting", n)
		}
		// A changed limit holds for handshakes from now on.
		site.Spec.MaxHandshakes = 2
		if err := server.Update(site.Config); err != nil {
			t.Fatal(err)
		}
		free := begin(t, server, hello)
		if n := server.Stats.Waiting.Load(); n != 1 {
			t.Errorf("%d waiting after the limit was raised", n)
		}
		time.Sleep(30 * time.Second)
		var failure *Failure
		if err := late.end(); !errors.As(err, &failure) || failure.Reason != Busy {
			t.Errorf("the one that waited in vain: %v", err)
		}
		for _, a := range []*attempt{silent, waiter, free} {
			if err := a.end(); !errors.As(err, &failure) || failure.Reason != Timeout {
				t.Errorf("one that stalled: %v", err)
			}
		}
		if n := len(server.state.Load().slots); n != 0 {
			t.Errorf("%d slots are lost", n)
		}
	})
}
