package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/weirproxy/weir/stream"
)

var (
	text     = frame(0x81, nil, "news")
	question = frame(0x81, mask, "question")
	ours     = frame(0x88, nil, "\x03\xe9")
	bye      = frame(0x88, mask, "\x03\xe9")
)

// upstreamWants reads a masked Close 1001.
func upstreamWants(t *testing.T, d *tunnel) {
	t.Helper()
	var b [8]byte
	if _, err := io.ReadFull(d.hear, b[:]); err != nil || !bytes.Equal(b[:], frame(0x88, b[2:6], "\x03\xe9")) {
		t.Errorf("the upstream got % x, %v", b, err)
	}
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   func(d *tunnel, client stream.Duplex) // until Drain
		upstream func(t *testing.T, d *tunnel)         // from then on
		client   func(t *testing.T, client stream.Duplex)
		got      []byte // by the client
		fault    stream.Kind
		took     time.Duration
		forced   int64
		told     bool
	}{
		{
			name: "idle", got: ours, told: true,
			upstream: func(t *testing.T, d *tunnel) {
				upstreamWants(t, d)
				d.say.Write(frame(0x88, nil, "\x03\xe9"))
				d.say.Close()
			},
		},
		{
			name: "what the upstream had sent arrives, in any pieces", got: slices.Concat(text, text, ours), told: true,
			before: func(d *tunnel, _ stream.Duplex) { d.say.Write(text[:3]) },
			upstream: func(t *testing.T, d *tunnel) {
				upstreamWants(t, d)
				for _, b := range slices.Concat(text[3:], text, frame(0x88, nil, "\x03\xe8bye"), text) {
					d.say.Write([]byte{b})
				}
			},
		},
		{
			name: "the client is inside of a frame", got: ours, told: true,
			before: func(d *tunnel, client stream.Duplex) {
				go client.Write(question[:5])
				io.ReadFull(d.hear, make([]byte, 5))
			},
			client: func(t *testing.T, client stream.Duplex) {
				rest := slices.Concat(question[5:], question, question, bye)
				if n, err := client.Write(rest); n != len(rest) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			},
			upstream: func(t *testing.T, d *tunnel) {
				rest := make([]byte, len(question)-5)
				if _, err := io.ReadFull(d.hear, rest); err != nil || !bytes.Equal(rest, question[5:]) {
					t.Errorf("got % x, %v", rest, err)
				}
				upstreamWants(t, d)
				d.say.Write(frame(0x88, nil, ""))
			},
		},
		{
			name: "the upstream says nothing", got: ours, told: true, forced: 1, took: answerTime + cutTime,
			upstream: upstreamWants,
		},
		{
			name: "the upstream goes on and on", got: nil, told: true, forced: 1, took: answerTime,
			upstream: func(t *testing.T, d *tunnel) {
				upstreamWants(t, d)
				for {
					if _, err := d.say.Write(text); err != nil {
						return
					}
					time.Sleep(300 * time.Millisecond)
				}
			},
		},
		{
			name: "the upstream stops inside of a frame", got: text[:3], fault: stream.UpstreamClosed, forced: 1, took: answerTime + cutTime,
			before:   func(d *tunnel, _ stream.Duplex) { d.say.Write(text[:3]) },
			upstream: upstreamWants,
		},
		{
			name: "the upstream ends without a word", got: slices.Concat(text, ours), told: true,
			upstream: func(t *testing.T, d *tunnel) { upstreamWants(t, d); d.say.Write(text); d.say.Close() },
		},
		{
			name: "the client does not answer", got: ours, fault: stream.Draining, told: true, forced: 1, took: clientTime,
			upstream: func(t *testing.T, d *tunnel) { upstreamWants(t, d); d.say.Write(frame(0x88, nil, "")) },
			client:   func(*testing.T, stream.Duplex) {},
		},
		{
			name: "the client leaves instead of answering", got: ours, told: true,
			upstream: func(t *testing.T, d *tunnel) { upstreamWants(t, d); d.say.Write(frame(0x88, nil, "")) },
			client:   func(_ *testing.T, client stream.Duplex) { client.CloseWrite() },
		},
		{
			name: "the client said Close already", got: ours, told: true,
			before: func(d *tunnel, client stream.Duplex) {
				go client.Write(bye)
				io.ReadFull(d.hear, make([]byte, len(bye)))
			},
			client:   func(*testing.T, stream.Duplex) {},
			upstream: func(t *testing.T, d *tunnel) { d.say.Write(frame(0x88, nil, "\x03\xe8")) },
		},
		{
			name: "the upstream said Close already", got: frame(0x88, nil, "\x03\xf0"),
			before:   func(d *tunnel, _ stream.Duplex) { d.say.Write(frame(0x88, nil, "\x03\xf0")) },
			upstream: func(t *testing.T, d *tunnel) { upstreamWants(t, d); d.say.Close() },
		},
		{
			name: "a defect", got: ours, fault: stream.Draining, told: true, forced: 1, took: clientTime,
			before:   func(d *tunnel, _ stream.Duplex) { d.panics = true },
			upstream: func(*testing.T, *tunnel) {},
			client:   func(*testing.T, stream.Duplex) {},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newTunnel()
				s := answering(d)
				client := socketOf(t, s)
				got := readAll(client)
				if c.before != nil {
					c.before(d, client)
				}
				synctest.Wait()
				began := time.Now()
				s.Drain(0)
				time.Sleep(time.Nanosecond) // the timer fires
				synctest.Wait()
				go c.upstream(t, d)
				if c.client == nil {
					c.client = func(t *testing.T, client stream.Duplex) {
						for s.stats.ClosedByDrain.Load() == 0 && s.stats.Open.Load() > 0 {
							time.Sleep(time.Millisecond)
						}
						if n, err := client.Write(bye); n != len(bye) || err != nil {
							t.Errorf("wrote %d, %v", n, err)
						}
					}
				}
				synctest.Wait()
				if c.fault == 0 || c.fault == stream.Draining {
					go c.client(t, client)
				}
				r := <-got
				if took := time.Since(began); took < c.took || took > c.took+500*time.Millisecond {
					t.Errorf("it took %v", took)
				}
				checkRead(t, r, c.got, c.fault)
				if told := s.stats.ClosedByDrain.Load() == 1; told != c.told || s.stats.Forced.Load() != c.forced {
					t.Errorf("told %v, forced %d", told, s.stats.Forced.Load())
				}
				if panics := s.stats.Panics.Load() == 1; panics != (c.name == "a defect") {
					t.Errorf("panicked: %v", panics)
				}
				for range 2 {
					client.Close()
				}
				d.say.Close()
				d.hear.Close()
				time.Sleep(time.Second) // until the upstream has seen it
				if s.stats.Open.Load() != 0 || len(s.sockets) != 0 {
					t.Errorf("%d open", s.stats.Open.Load())
				}
			})
		})
	}
}

func checkRead(t *testing.T, r read, want []byte, kind stream.Kind) {
	t.Helper()
	if want == nil && kind == 0 { // some whole frames, then ours
		if n := len(r.bytes) - len(ours); n < 0 || n%len(text) != 0 || n == 0 || !bytes.Equal(r.bytes[n:], ours) {
			t.Errorf("the client got %q", r.bytes)
		}
	} else if !bytes.Equal(r.bytes, want) {
		t.Errorf("the client got %q, want %q", r.bytes, want)
	}
	var f *stream.Fault
	switch {
	case kind == 0:
		if r.err != nil {
			t.Errorf("the client got %v", r.err)
		}
	case !errors.As(r.err, &f) || f.Kind != kind:
		t.Errorf("the client got %v, want %v", r.err, kind)
	}
}

// The end of the upstream's time may come just as its Close does: the wait for
// the client has an end all the same.
func TestDrainLateHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTunnel()
		s := answering(d)
		client := socketOf(t, s)
		defer client.Close()
		got := readAll(client)
		s.Drain(0)
		upstreamWants(t, d)
		d.say.Write(frame(0x88, nil, ""))
		synctest.Wait()
		client.(*socket).hurry()
		began := time.Now()
		checkRead(t, <-got, ours, stream.Draining)
		if took := time.Since(began); took != cutTime+clientTime {
			t.Errorf("it took %v", took)
		}
	})
}

// The sockets are told one by one, those that open later too, and none after
// the time is over. A second Drain changes nothing.
func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		over := 10 * time.Second
		began := time.Now()
		var ds []*tunnel
		for range n {
			ds = append(ds, newTunnel())
		}
		s := answering(ds...)
		told := make(chan time.Duration, n)
		serve := func(d *tunnel) {
			client := socketOf(t, s)
			go func() {
				upstreamWants(t, d)
				told <- time.Since(began)
				client.Close()
			}()
		}
		for _, d := range ds[:n/2] {
			serve(d)
		}
		s.Drain(over)
		time.Sleep(over / 2)
		s.Drain(0)
		for _, d := range ds[n/2:] {
			serve(d)
		}
		buckets := [10]int{}
		for range n {
			at := <-told
			if at > over {
				t.Fatalf("told after %v", at)
			}
			buckets[min(int(at*10/over), 9)]++
		}
		for i, count := range buckets {
			if count == 0 || count > n/3 {
				t.Errorf("%d of %d were told in tenth %d: %v", count, n, i, buckets)
			}
		}
		if s.stats.Open.Load() != 0 || s.stats.Opened.Load() != n {
			t.Errorf("%d open", s.stats.Open.Load())
		}
	})
}

// Until then everything passes as it is.
func TestPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTunnel()
		s := answering(d)
		client := socketOf(t, s)
		got := readAll(client)
		up := bytes.Repeat(question, 1000)
		heard := make(chan []byte, 1)
		go func() { b, _ := io.ReadAll(d.hear); heard <- b }()
		for at := 0; at < len(up); at += 777 {
			client.Write(up[at:min(at+777, len(up))])
		}
		client.CloseWrite()
		d.say.Write([]byte("no frame at all, which is not our business"))
		d.say.Close()
		if b := <-heard; !bytes.Equal(b, up) {
			t.Errorf("the upstream got %d bytes", len(b))
		}
		if r := <-got; string(r.bytes) != "no frame at all, which is not our business" || r.err != nil {
			t.Errorf("the client got %q, %v", r.bytes, r.err)
		}
		client.Close()
	})
}

func TestNotWrapped(t *testing.T) {
	fault := &stream.Fault{Kind: stream.NoRoute}
	for _, c := range []struct {
		name    string
		upgrade string
		resp    *stream.Response
		err     error
	}{
		{"another upgrade", "foo", &stream.Response{Status: 101, Body: newTunnel()}, nil},
		{"no upgrade", "websocket", &stream.Response{Status: 403, Body: stream.NoBody}, nil},
		{"CONNECT", "", &stream.Response{Status: 200, Body: newTunnel()}, nil},
		{"fault", "websocket", nil, fault},
	} {
		s := New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return c.resp, c.err }), Config{})
		var body stream.Body
		if c.resp != nil {
			body = c.resp.Body
		}
		resp, err := s.Serve(context.Background(), &stream.Request{Upgrade: c.upgrade})
		if resp != c.resp || !errors.Is(err, c.err) || resp != nil && resp.Body != body || s.stats.Opened.Load() != 0 {
			t.Errorf("%s: %v, %v", c.name, resp, err)
		}
	}
}

func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(socket{}); n > 160 {
		t.Errorf("the state of an idle socket has %d bytes", n)
	}
}

func TestAllocs(t *testing.T) {
	d := newTunnel()
	s := answering(d)
	client := socketOf(t, s)
	defer client.Close()
	go io.Copy(io.Discard, d.hear)
	if n := testing.AllocsPerRun(100, func() { client.Write(question) }); n > 0 {
		t.Errorf("%v allocations per write", n)
	}
}
