package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// turn is one step of a scripted peer: it reads exactly want, then sends say.
type turn struct{ want, say string }

// scripted is a peer that plays its turns and hangs up; got is what it read.
func scripted(t *testing.T, turns []turn) (dial Dial, got func() string) {
	t.Helper()
	read, done := "", make(chan struct{})
	dial = func(context.Context, *endpoint.Endpoint) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer close(done)
			defer far.Close()
			for _, step := range turns {
				words := make([]byte, len(step.want))
				n, err := io.ReadFull(far, words)
				read += string(words[:n])
				if err != nil {
					return
				}
				_, _ = io.WriteString(far, step.say) // who hangs up early has seen enough
			}
		}()
		return near, nil
	}
	return dial, func() string { <-done; return read }
}

// checkOnce makes one check against a scripted peer.
func checkOnce(t *testing.T, spec config.HealthCheck, password string, turns ...turn) error {
	t.Helper()
	spec.Interval, spec.Timeout = config.Duration(10*time.Second), config.Duration(2*time.Second)
	dial, got := scripted(t, turns)
	c, err := New(Config{Spec: spec, Dial: dial, Plain: dial, Password: snapshot.NewMaterial([]byte(password))})
	if err != nil {
		t.Fatal(err)
	}
	err = c.check(t.Context(), endpoints(1)[0])
	want, heard := "", got()
	for _, step := range turns {
		want += step.want
	}
	if heard != want[:min(len(heard), len(want))] {
		t.Errorf("the peer read %q, want %q", heard, want)
	}
	return err
}

// reason is an error in words; "" is none.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// fault is one of a connection, by name, in what a check makes of it.
func fault(name string) error {
	kind := map[string]stream.Kind{"tls": stream.TLSFailed, "refused": stream.ConnectRefused, "timeout": stream.ConnectTimeout}[name]
	return fmt.Errorf("check: %w", &stream.Fault{Kind: kind})
}
