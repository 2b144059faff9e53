package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/stream"
)

// world is names, and what happens at addresses; nil is a connection.
type world struct {
	names   map[string][]string
	at      map[string]func(ctx context.Context) error
	lookups []string
	dialed  []string
}

func (w *world) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	w.lookups = append(w.lookups, host)
	list, ok := w.names[host]
	if !ok {
		return nil, errors.New("no such name")
	}
	var addresses []netip.Addr
	for _, s := range list {
		addresses = append(addresses, netip.MustParseAddr(s))
	}
	return addresses, nil
}

func (w *world) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	w.dialed = append(w.dialed, to.String())
	if f := w.at[to.Addr().String()]; f != nil {
		if err := f(ctx); err != nil {
			return nil, err
		}
	}
	nc, _ := net.Pipe()
	return nc, nil
}

func refuse(context.Context) error { return fmt.Errorf("connect: %w", syscall.ECONNREFUSED) }
func full(context.Context) error   { return fmt.Errorf("socket: %w", syscall.EMFILE) }
func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

const none = stream.Internal // no fault

func TestDial(t *testing.T) {
	many := slices.Repeat([]string{"8.0.0.1"}, 50)
	for _, c := range []struct {
		name    string
		host    string
		names   []string // that host resolves to
		at      map[string]func(ctx context.Context) error
		private bool
		dialed  string
		kind    stream.Kind
		took    time.Duration
	}{
		{name: "a public name", host: "h", names: []string{"8.8.8.8"}, dialed: "8.8.8.8:443"},
		{name: "an address", host: "8.8.8.8", dialed: "8.8.8.8:443"},
		{name: "IPv6", host: "2606:4700::1111", dialed: "[2606:4700::1111]:443"},
		{name: "a name of metadata", host: "h", names: []string{"169.254.169.254"}, kind: stream.Forbidden},
		{name: "the same, allowed", host: "h", names: []string{"169.254.169.254"}, private: true, dialed: "169.254.169.254:443"},
		{name: "multicast, though private is allowed", host: "h", names: []string{"224.0.0.1"}, private: true, kind: stream.Forbidden},
		{name: "one good, one bad", host: "h", names: []string{"127.0.0.1", "8.8.8.8"}, dialed: "8.8.8.8:443"},
		{name: "mapped", host: "::ffff:127.0.0.1", kind: stream.Forbidden},
		{name: "mapped and public is dialed as IPv4", host: "::ffff:8.8.8.8", dialed: "8.8.8.8:443"},
		{name: "short form", host: "127.1", kind: stream.Forbidden},
		{name: "one number", host: "2130706433", kind: stream.Forbidden},
		{name: "hexadecimal", host: "0x7f000001", kind: stream.Forbidden},
		{name: "hexadecimal with points", host: "0x7f.0x0.0x0.0x1", kind: stream.Forbidden},
		{name: "octal", host: "0177.0.0.01", kind: stream.Forbidden},
		{name: "with a trailing dot", host: "127.0.0.1.", kind: stream.Forbidden},
		{name: "empty", host: "", kind: stream.Forbidden},
		{name: "unknown", host: "unknown", kind: stream.NameUnresolved},
		{name: "without addresses", host: "h", names: []string{}, kind: stream.NameUnresolved},
		{name: "refused", host: "h", names: []string{"8.0.0.1"}, at: map[string]func(context.Context) error{"8.0.0.1": refuse},
			dialed: "8.0.0.1:443", kind: stream.ConnectRefused},
		{name: "the second works", host: "h", names: []string{"8.0.0.1", "8.0.0.2"}, at: map[string]func(context.Context) error{"8.0.0.1": refuse},
			dialed: "8.0.0.1:443 8.0.0.2:443"},
		{name: "the first is silent", host: "h", names: []string{"8.0.0.1", "8.0.0.2"}, at: map[string]func(context.Context) error{"8.0.0.1": silent},
			dialed: "8.0.0.1:443 8.0.0.2:443", took: 5 * time.Second},
		{name: "all are silent", host: "h", names: []string{"8.0.0.1", "8.0.0.2"},
			at:     map[string]func(context.Context) error{"8.0.0.1": silent, "8.0.0.2": silent},
			dialed: "8.0.0.1:443 8.0.0.2:443", kind: stream.ConnectTimeout, took: 10 * time.Second},
		{name: "no descriptors", host: "h", names: []string{"8.0.0.1"}, at: map[string]func(context.Context) error{"8.0.0.1": full},
			dialed: "8.0.0.1:443", kind: stream.Overloaded},
		{name: "many addresses", host: "h", names: many, at: map[string]func(context.Context) error{"8.0.0.1": refuse},
			dialed: strings.TrimSuffix(strings.Repeat("8.0.0.1:443 ", maxAddresses), " "), kind: stream.ConnectRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{names: map[string][]string{}, at: c.at}
				if c.names != nil {
					w.names["h"] = c.names
				}
				d := New(Config{AllowPrivate: c.private, Lookup: w.lookup, Connect: w.connect})
				began := time.Now()
				nc, err := d.Dial(context.Background(), c.host, 443, time.Time{})
				took := time.Since(began)
				if (nc == nil) == (err == nil) {
					t.Fatalf("%v and %v", nc, err)
				}
				if got := strings.Join(w.dialed, " "); got != c.dialed {
					t.Errorf("dialed %s", got)
				}
				if took != c.took {
					t.Errorf("took %v", took)
				}
				if len(w.lookups) > 1 {
					t.Errorf("looked up %d times: the second answer may be another", len(w.lookups))
				}
				checkFault(t, d, err, c.kind)
			})
		})
	}
}

func checkFault(t *testing.T, d *Dialer, err error, kind stream.Kind) {
	t.Helper()
	s := &d.Stats
	got := [...]int64{s.Dialed.Load(), s.Failed.Load(), s.Refused.Load(), s.Unresolved.Load()}
	if kind == none {
		if err != nil || got != [4]int64{1, 0, 0, 0} {
			t.Errorf("got %v, counted %v", err, got)
		}
		return
	}
	var f *stream.Fault
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("got %v", err)
	}
	counted, retry := [4]int64{0, 1, 0, 0}, stream.RetryUnsent
	switch kind {
	case stream.Forbidden:
		counted, retry = [4]int64{0, 0, 1, 0}, stream.RetryNever
	case stream.NameUnresolved:
		counted = [4]int64{0, 1, 0, 1}
	}
	if got != counted || f.Retry != retry {
		t.Errorf("%v: counted %v, retry %v", f, got, f.Retry)
	}
}

// The deadline and the end of the context end a Dial wherever it is.
func TestDialEnds(t *testing.T) {
	slow := func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, inLookup := range []bool{true, false} {
		for _, canceled := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := &world{names: map[string][]string{"h": {"8.0.0.1"}}, at: map[string]func(context.Context) error{"8.0.0.1": silent}}
				cfg := Config{Lookup: w.lookup, Connect: w.connect, Timeout: time.Hour}
				if inLookup {
					cfg.Lookup = slow
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				kind, deadline := stream.ConnectTimeout, time.Now().Add(time.Second)
				if canceled {
					kind, deadline = stream.ClientGone, time.Time{}
					time.AfterFunc(time.Second, cancel)
				}
				began := time.Now()
				_, err := New(cfg).Dial(ctx, "h", 443, deadline)
				if f := stream.AsFault(err); f.Kind != kind || time.Since(began) != time.Second {
					t.Errorf("%v after %v", f, time.Since(began))
				}
			})
		}
	}
}

// On the real network, as far as there is one.
func TestDialLoopback(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	for _, allow := range []bool{false, true} {
		nc, err := New(Config{AllowPrivate: allow}).Dial(context.Background(), "127.0.0.1", port, time.Time{})
		if (err == nil) != allow {
			t.Errorf("allow_private %v: %v", allow, err)
		}
		if nc != nil {
			if _, plain := nc.(*net.TCPConn); !plain {
				t.Errorf("%T cannot be spliced", nc)
			}
			nc.Close()
		}
	}
}
