package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// What every phase is limited to in the walk. A peer that moves one byte in
// ten seconds never stalls for Idle; the ceiling gets it.
const (
	walkIdle    = 15 * time.Second
	walkCeiling = 60 * time.Second
	walkSlack   = 3 * time.Second
	walkStep    = 10 * time.Second
)

// dribble writes one byte every ten seconds until the connection ends, or
// nothing at all.
func dribble(nc net.Conn, bytes bool) {
	for bytes {
		time.Sleep(walkStep)
		if _, err := nc.Write([]byte("a")); err != nil {
			return
		}
	}
}

// sip reads in the same way.
func sip(nc net.Conn, bytes bool) {
	for bytes {
		time.Sleep(walkStep)
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}

// hangUp closes the connection once there is an answer, so that what follows
// the phase takes no time.
func hangUp(nc net.Conn) {
	nc.Read(make([]byte, 1))
	nc.Close()
}

// downstreamWalk drives a client into a phase and leaves it there.
var downstreamWalk = map[stream.Phase]struct {
	service stream.Service
	client  func(nc net.Conn, bytes bool)
}{
	stream.PhaseIdle: {client: func(net.Conn, bool) {}},
	stream.PhaseHead: {client: func(nc net.Conn, bytes bool) {
		go hangUp(nc)
		nc.Write([]byte("GET / HTTP/1.1\r\nX: "))
		dribble(nc, bytes)
	}},
	stream.PhaseBody: {service: echo, client: func(nc net.Conn, bytes bool) {
		go hangUp(nc)
		nc.Write([]byte(post + "Content-Length: 1000\r\n\r\n"))
		dribble(nc, bytes)
	}},
	stream.PhaseWait: {
		service: stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			<-ctx.Done()
			return text(504, ""), nil
		}),
		client: func(nc net.Conn, bytes bool) {
			go hangUp(nc)
			nc.Write([]byte(get + "\r\n"))
		},
	},
	stream.PhaseWrite: {
		service: stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Body: &endless{}, Length: -1}, nil
		}),
		client: func(nc net.Conn, bytes bool) {
			nc.Write([]byte(get + "\r\n"))
			sip(nc, bytes)
		},
	},
	stream.PhaseTunnel: {
		service: stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			return &stream.Response{Status: 101, Body: pipeDuplex{near, far}, Length: -1}, nil
		}),
		client: func(nc net.Conn, bytes bool) {
			go io.Copy(io.Discard, nc)
			nc.Write([]byte(upgrade))
			dribble(nc, bytes)
		},
	},
	stream.PhaseLinger: {client: func(nc net.Conn, bytes bool) {
		go io.Copy(io.Discard, nc)
		nc.Write([]byte("?\r\n\r\n"))
		dribble(nc, bytes)
	}},
}

// pipeDuplex is the upstream end of a tunnel.
type pipeDuplex struct {
	net.Conn
	far net.Conn
}

func (d pipeDuplex) Trailer() *stream.Header { return nil }
func (d pipeDuplex) CloseWrite() error       { return nil }
func (d pipeDuplex) Close() error            { d.far.Close(); return d.Conn.Close() }

func TestPhasesEndDownstream(t *testing.T) {
	for p := stream.PhaseIdle; p < stream.PhaseUpstreamSend; p++ {
		for _, bytes := range []bool{false, true} {
			t.Run(walkName(p, bytes), func(t *testing.T) {
				walk, ok := downstreamWalk[p]
				if !ok {
					t.Fatal("nobody walks this phase: add it")
				}
				synctest.Test(t, func(t *testing.T) {
					took := walkDownstream(p, walk.service, func(nc net.Conn) { walk.client(nc, bytes) })
					checkWalk(t, took, bytes)
				})
			})
		}
	}
}

func walkName(p stream.Phase, bytes bool) string {
	if bytes {
		return p.String() + " a byte at a time"
	}
	return p.String() + " nothing"
}

func checkWalk(t *testing.T, took time.Duration, bytes bool) {
	limit := walkIdle
	if bytes {
		limit = walkCeiling
	}
	if took > limit+walkSlack || took < walkIdle {
		t.Errorf("it took %v, the limit is %v", took, limit)
	}
}

// walkLimits limits the phase of the walk; the others are long.
func walkLimits(p stream.Phase) (l stream.PhaseLimits) {
	l = testPhases
	for i := range l {
		l[i] = stream.PhaseLimit{Idle: time.Hour}
	}
	l[p] = stream.PhaseLimit{Idle: walkIdle, Ceiling: walkCeiling}
	return l
}

// walkDownstream is how long a connection lives that such a client opens.
func walkDownstream(p stream.Phase, service stream.Service, client func(net.Conn)) time.Duration {
	var dog watchdog.Dog
	s := NewServer(ServerConfig{
		Limits: testLimits, Service: service, Refuse: refuse, Dog: &dog, Phases: walkLimits(p),
		Go: func(f func()) { go f() },
	})
	near, far := net.Pipe()
	start := time.Now()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		client(far)
	}()
	s.Serve(context.Background(), near, &stream.Conn{})
	took := time.Since(start)
	far.Close()
	<-gone
	return took
}

// upstreamWalk drives an upstream into a phase and leaves it there.
var upstreamWalk = map[stream.Phase]struct {
	body     stream.Body
	length   int64
	upstream func(nc net.Conn, bytes bool)
}{
	stream.PhaseUpstreamSend: {stream.NoBody, 0, sip},
	stream.PhaseUpstreamHead: {stream.NoBody, 0, func(nc net.Conn, bytes bool) {
		http.ReadRequest(bufio.NewReader(nc))
		if bytes {
			nc.Write([]byte("HTTP/1.1 200 OK\r\nX: "))
		}
		dribble(nc, bytes)
	}},
	stream.PhaseUpstreamBody: {stream.NoBody, 0, func(nc net.Conn, bytes bool) {
		http.ReadRequest(bufio.NewReader(nc))
		nc.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
		dribble(nc, bytes)
	}},
}

func TestPhasesEndUpstream(t *testing.T) {
	for p := stream.PhaseUpstreamSend; p < stream.NumPhases; p++ {
		for _, bytes := range []bool{false, true} {
			t.Run(walkName(p, bytes), func(t *testing.T) {
				walk, ok := upstreamWalk[p]
				if !ok {
					t.Fatal("nobody walks this phase: add it")
				}
				synctest.Test(t, func(t *testing.T) {
					took, f := walkUpstream(p, newPost(walk.body, walk.length), func(nc net.Conn) { walk.upstream(nc, bytes) })
					checkWalk(t, took, bytes)
					if f == nil || f.Origin() != stream.Upstream {
						t.Errorf("got %v", f)
					}
				})
			})
		}
	}
}

// walkUpstream is how long an exchange lasts with such an upstream.
func walkUpstream(p stream.Phase, req *stream.Request, upstream func(net.Conn)) (time.Duration, *stream.Fault) {
	var dog watchdog.Dog
	cfg := &ClientConfig{Limits: testLimits, Dog: &dog, Phases: walkLimits(p), Go: func(f func()) { go f() }}
	near, far := net.Pipe()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		upstream(far)
	}()
	c := NewClient(near, cfg)
	released := 0
	c.Release = func(c *Client, reusable bool) {
		released++
		if reusable {
			released = 100
		}
		c.Close()
	}
	start := time.Now()
	resp, err := c.Serve(context.Background(), req)
	var f *stream.Fault
	if err != nil {
		f = stream.AsFault(err)
	} else {
		_, f = readAll(resp)
	}
	took := time.Since(start)
	far.Close()
	<-gone
	if released != 1 {
		f = nil
	}
	return took, f
}

// An upload to an upstream that does not read, and one from a client that does
// not send: each is the fault of the one that stalls.
func TestUploadStalls(t *testing.T) {
	t.Run("upstream", func(t *testing.T) {
		for _, bytes := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				took, f := walkUpstream(stream.PhaseUpstreamSend, newPost(&endless{}, -1), func(nc net.Conn) {
					http.ReadRequest(bufio.NewReader(nc))
					sip(nc, bytes)
				})
				checkWalk(t, took, bytes)
				if f == nil || f.Kind != stream.UpstreamTooSlow {
					t.Errorf("got %v", f)
				}
			})
		}
	})
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var dog watchdog.Dog
			var seen *stream.Fault
			up, far := net.Pipe()
			go io.Copy(io.Discard, far)
			c := NewClient(up, &ClientConfig{Limits: testLimits, Dog: &dog, Phases: walkLimits(stream.PhaseBody), Go: func(f func()) { go f() }})
			c.Release = func(c *Client, _ bool) { c.Close(); far.Close() }
			service := stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				resp, err := c.Serve(ctx, req)
				if err == nil {
					return resp, nil
				}
				seen = stream.AsFault(err)
				return refuse(ctx, req, seen), nil
			})
			took := walkDownstream(stream.PhaseBody, service, func(nc net.Conn) {
				go hangUp(nc)
				nc.Write([]byte(post + "Content-Length: 100000\r\n\r\nabc"))
			})
			checkWalk(t, took, false)
			if seen == nil || seen.Kind != stream.BodyTimeout {
				t.Errorf("got %v", seen)
			}
		})
	})
}

// A peer that moves a little in every wait is judged over all of them.
func TestMinRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := walkLimits(stream.PhaseBody)
		limits[stream.PhaseBody] = stream.PhaseLimit{Idle: time.Hour, MinRate: 100, Grace: 20 * time.Second}
		var dog watchdog.Dog
		var answer string
		s := NewServer(ServerConfig{Limits: testLimits, Service: echo, Refuse: refuse, Dog: &dog, Phases: limits, Go: func(f func()) { go f() }})
		near, far := net.Pipe()
		start := time.Now()
		defer time.Sleep(2 * time.Second) // let the client see the end
		go func() {
			far.Write([]byte(post + "Content-Length: 1000000\r\n\r\n"))
			for {
				time.Sleep(time.Second)
				if _, err := far.Write([]byte("0123456789")); err != nil {
					return
				}
			}
		}()
		go func() {
			b := make([]byte, 1000)
			n, _ := far.Read(b)
			answer = string(b[:n])
			far.Close()
		}()
		s.Serve(context.Background(), near, &stream.Conn{})
		took := time.Since(start)
		synctest.Wait()
		if took < 20*time.Second || took > 25*time.Second || !strings.Contains(answer, "client_too_slow") {
			t.Errorf("it took %v and the answer is %q", took, answer)
		}
	})
}

// A head that stalls is answered with 408, an idle connection with nothing.
func TestHeadTimeoutAnswer(t *testing.T) {
	for _, c := range []struct {
		phase stream.Phase
		send  string
		want  string
	}{
		{stream.PhaseIdle, "", ""},
		{stream.PhaseHead, "GET / HTTP/1.1\r\n", "HTTP/1.1 408 Request Timeout\r\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got string
			walkDownstream(c.phase, echo, func(nc net.Conn) {
				if c.send != "" {
					nc.Write([]byte(c.send))
				}
				b := make([]byte, 1000)
				n, _ := nc.Read(b)
				got = string(b[:n])
				nc.Close()
			})
			synctest.Wait()
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("phase %v: got %q, want %q", c.phase, got, c.want)
			}
		})
	}
}

// TestIdleShortened: a connection that is idle goes when idle times are
// shortened, also when they were not as its wait began.
func TestIdleShortened(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) {
		cfg.Phases[stream.PhaseIdle] = stream.PhaseLimit{Ceiling: time.Hour, Floor: 100 * time.Millisecond}
	})
	p := e.dial()
	p.send(get + "\r\n")
	p.head()
	e.dog.Squeeze(1)
	p.rest()
	if n := e.dog.Shortened.Load(); n != 1 {
		t.Errorf("%d counted", n)
	}
}
