package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// pipeDuplex is a tunnel whose upstream end the test holds.
type pipeDuplex struct {
	net.Conn
	other net.Conn
	once  sync.Once
	ended chan struct{} // CloseWrite was called
}

func newPipeDuplex() *pipeDuplex {
	a, b := net.Pipe()
	return &pipeDuplex{Conn: a, other: b, ended: make(chan struct{})}
}

func (d *pipeDuplex) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err != nil && err != io.EOF {
		err = &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return n, err
}
func (d *pipeDuplex) Write(p []byte) (int, error) {
	n, err := d.Conn.Write(p)
	if err != nil {
		err = &stream.Fault{Kind: stream.UpstreamReset, Cause: err}
	}
	return n, err
}
func (d *pipeDuplex) CloseWrite() error       { d.once.Do(func() { close(d.ended) }); return nil }
func (d *pipeDuplex) Trailer() *stream.Header { return nil }

var webSocketHead = []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "h", ":path", "/chat"}

func tunnelEdge(t *testing.T, d *pipeDuplex, with ...func(*ServerConfig)) *edge {
	return newEdge(t, serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Method != "GET" || req.Upgrade != "websocket" || req.Target.Path != "/chat" {
			return textResponse(400, "not normalised"), nil
		}
		resp := &stream.Response{Status: 101, Body: d, Length: -1}
		resp.Header.AddID(stream.SecWebSocketAccept, "x")
		return resp, nil
	}), with...)
}

func TestWebSocket(t *testing.T) {
	d := newPipeDuplex()
	e := tunnelEdge(t, d)
	c := e.dial()
	c.headers(1, false, webSocketHead...)
	c.check(c.fr.WriteData(1, false, []byte("ping")))
	b := make([]byte, 4)
	if _, err := io.ReadFull(d.other, b); err != nil || string(b) != "ping" {
		t.Fatalf("%q %v", b, err)
	}
	if _, err := d.other.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	f, err := c.next()
	c.check(err)
	if h, ok := f.(*xhttp2.MetaHeadersFrame); !ok || h.PseudoValue("status") != "200" || h.StreamEnded() ||
		strings.Contains(fmt.Sprint(h.Fields), "accept") {
		t.Fatalf("head %v", f)
	}
	f, err = c.next()
	c.check(err)
	if p, ok := f.(*xhttp2.DataFrame); !ok || string(p.Data()) != "pong" {
		t.Fatalf("got %v", f)
	}
	c.check(c.fr.WriteData(1, true, nil))
	<-d.ended // half closed: the other direction goes on
	if _, err := d.other.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	d.other.Close()
	if a := c.response(1); a.body != "bye" || a.wasCut {
		t.Errorf("rest %+v", a)
	}
	ex := e.exchange(0)
	if ex.Fault != nil || ex.BytesIn != 4 || ex.BytesOut != 7 {
		t.Errorf("exchange %+v", ex)
	}
}

func TestWebSocketReset(t *testing.T) {
	d := newPipeDuplex()
	e := tunnelEdge(t, d)
	c := e.dial()
	c.headers(1, false, webSocketHead...)
	_, err := c.next()
	c.check(err)
	c.check(c.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel))
	if _, err := d.other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the upstream sees %v", err)
	}
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.ClientGone {
		t.Errorf("exchange %+v", ex)
	}
}

func TestWebSocketIdle(t *testing.T) {
	d := newPipeDuplex()
	e := tunnelEdge(t, d, func(cfg *ServerConfig) {
		cfg.Phases[stream.PhaseTunnel] = stream.PhaseLimit{Idle: 100 * time.Millisecond}
	})
	c := e.dial()
	c.headers(1, false, webSocketHead...)
	if a := c.response(1); !a.wasCut || a.status != "200" {
		t.Errorf("answer %+v", a)
	}
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.BodyTimeout {
		t.Errorf("exchange %+v", ex)
	}
}

func TestDrain(t *testing.T) {
	release := make(chan struct{})
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		<-release
		return textResponse(200, "ok"), nil
	}))
	c := e.dial()
	c.headers(1, true, getHead...)
	c.check(c.fr.WritePing(false, [8]byte{9}))
	for {
		f, err := c.fr.ReadFrame()
		c.check(err)
		if p, ok := f.(*xhttp2.PingFrame); ok && p.IsAck() {
			break
		}
	}
	e.Drain(0)
	f, err := c.next()
	c.check(err)
	if g, ok := f.(*xhttp2.GoAwayFrame); !ok || g.LastStreamID != 1<<31-1 || g.ErrCode != 0 {
		t.Fatalf("first %v", f)
	}
	f, err = c.fr.ReadFrame()
	c.check(err)
	ping, ok := f.(*xhttp2.PingFrame)
	if !ok || ping.IsAck() {
		t.Fatalf("then %v, want PING", f)
	}
	c.headers(3, true, getHead...) // was on its way
	c.check(c.fr.WritePing(true, ping.Data))
	f, err = c.next()
	c.check(err)
	if g, ok := f.(*xhttp2.GoAwayFrame); !ok || g.LastStreamID != 3 || g.ErrCode != 0 {
		t.Fatalf("second %v", f)
	}
	c.headers(5, true, getHead...) // too late: ignored
	close(release)
	answered := 0
	for {
		f, err := c.next()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		if d, ok := f.(*xhttp2.DataFrame); ok && d.StreamEnded() {
			answered++
		}
	}
	if answered != 2 {
		t.Errorf("%d answers, want 2", answered)
	}
	e.exchange(1)
	if !e.exchange(0).Draining && !e.exchange(1).Draining {
		t.Error("the record does not say that the connection was told to end")
	}
}

func TestRetireAndMaxRequests(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.MaxRequests = 2 })
	c := e.dial()
	c.headers(1, true, getHead...)
	c.response(1)
	c.headers(3, true, getHead...)
	f, err := c.next()
	c.check(err)
	if g, ok := f.(*xhttp2.GoAwayFrame); !ok || g.LastStreamID != 1<<31-1 {
		t.Errorf("got %v, want GOAWAY", f)
	}
	e.Retire()
	c = e.dial()
	c.headers(1, true, getHead...)
	f, err = c.next()
	c.check(err)
	if g, ok := f.(*xhttp2.GoAwayFrame); !ok || g.LastStreamID != 1<<31-1 {
		t.Errorf("got %v, want GOAWAY", f)
	}
}

// phaseConn is one end of a pipe for a bubble of synctest.
func servePipe(t *testing.T, s *Server) net.Conn {
	a, b := net.Pipe()
	go s.Serve(t.Context(), b, &stream.Conn{ID: 1, Listener: "test"})
	return a
}

// TestPhases stalls a connection in each phase that this codec has: with
// nothing, then with a byte now and then. None of them holds it for longer.
func TestPhases(t *testing.T) {
	full := func() []byte {
		var b bytes.Buffer
		fr := xhttp2.NewFramer(&b, nil)
		b.WriteString(preface)
		_ = fr.WriteSettings()
		return b.Bytes()
	}
	request := func(end bool) []byte {
		var b bytes.Buffer
		fr := xhttp2.NewFramer(&b, nil)
		c := &rawClient{t: t}
		c.enc = newTestEncoder(&c.block)
		_ = fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(postHead...), EndHeaders: true, EndStream: end})
		return b.Bytes()
	}
	for _, test := range []struct {
		name  string
		phase stream.Phase
		start []byte
		drip  []byte
		want  stream.Kind // of the exchange; Internal for none
	}{
		{"preface", stream.PhasePreface, nil, []byte(preface), 0},
		{"settings", stream.PhasePreface, []byte(preface), make([]byte, 9), 0},
		{"idle", stream.PhaseIdle, full(), appendPing(nil, 0, make([]byte, 8)), 0},
		{"head", stream.PhaseHead, append(full(), request(true)[:12]...), bytes.Repeat([]byte{0}, 20), 0},
		{"continuation", stream.PhaseHead, append(full(), rawHeaders(request(true))...), nil, stream.HeadTimeout},
		{"body", stream.PhaseBody, append(full(), request(false)...), nil, stream.BodyTimeout},
	} {
		for _, drip := range []bool{false, true} {
			if drip && test.drip == nil {
				continue
			}
			t.Run(fmt.Sprintf("%s drip=%v", test.name, drip), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					stallIn(t, test.phase, test.start, test.drip, drip, test.want)
				})
			})
		}
	}
}

func stallIn(t *testing.T, phase stream.Phase, start, slow []byte, drip bool, want stream.Kind) {
	e := &edge{t: t}
	var last *stream.Fault
	ended := make(chan struct{}, 1)
	phases := serverPhases
	phases[phase] = stream.PhaseLimit{Ceiling: 20 * time.Second}
	s := NewServer(ServerConfig{
		Limits: serverLimits, MaxStreams: 10, Service: echo, Refuse: refuseText, Dog: &e.dog, Phases: phases,
		Go: func(f func()) { go f() },
		Done: func(req *stream.Request) {
			last = req.Exchange.Fault
			ended <- struct{}{}
		},
	})
	nc := servePipe(t, s)
	defer nc.Close()
	begin := time.Now()
	if len(start) > 0 { // a write of nothing wakes the other end of a pipe
		if _, err := nc.Write(start); err != nil {
			t.Fatal(err)
		}
	}
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, nc)
		close(gone)
	}()
	if drip {
		go func() {
			for _, b := range slow {
				select {
				case <-gone:
					return
				case <-time.After(10 * time.Second):
				}
				if _, err := nc.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
	}
	if phase == stream.PhaseBody {
		<-ended
	} else {
		<-gone
	}
	if took := time.Since(begin); took < 19*time.Second || took > 26*time.Second {
		t.Errorf("it took %v, want 20 s", took)
	}
	if want != 0 && (last == nil || last.Kind != want) {
		t.Errorf("the record says %v, want %v", last, want)
	}
	nc.Close()
	synctest.Wait()
	<-gone
}

// A connection with an exchange that takes long is not idle.
func TestLongExchangeIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &edge{t: t}
		phases := serverPhases
		phases[stream.PhaseIdle] = stream.PhaseLimit{Ceiling: 20 * time.Second}
		s := NewServer(ServerConfig{
			Limits: serverLimits, MaxStreams: 10, Refuse: refuseText, Dog: &e.dog, Phases: phases, Go: func(f func()) { go f() },
			Service: serviceFunc(func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
				time.Sleep(70 * time.Second)
				return textResponse(200, "ok"), nil
			}),
		})
		nc := servePipe(t, s)
		c := &rawClient{t: t, nc: nc, fr: xhttp2.NewFramer(nc, nc)}
		c.enc = newTestEncoder(&c.block)
		c.fr.ReadMetaHeaders = newTestDecoder()
		c.write([]byte(preface))
		c.check(c.fr.WriteSettings())
		c.headers(1, true, getHead...)
		if a := c.response(1); a.body != "ok" {
			t.Errorf("answer %+v", a)
		}
		begin := time.Now()
		if code, debug := c.end(); code != 0 || debug != "idle" {
			t.Errorf("GOAWAY %v %q", code, debug)
		}
		if took := time.Since(begin); took < 19*time.Second || took > 45*time.Second {
			t.Errorf("idle for %v, want 20 s", took)
		}
		nc.Close()
	})
}

// TestIdleShortened: a connection that has been idle goes as soon as idle times
// are shortened; one with an exchange under way stays.
func TestIdleShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &edge{t: t}
		phases := serverPhases
		phases[stream.PhaseIdle] = stream.PhaseLimit{Ceiling: 75 * time.Second, Floor: 2 * time.Second}
		s := NewServer(ServerConfig{
			Limits: serverLimits, MaxStreams: 10, Refuse: refuseText, Dog: &e.dog, Phases: phases, Go: func(f func()) { go f() },
			Service: serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
				time.Sleep(20 * time.Second)
				return textResponse(200, "ok"), nil
			}),
		})
		nc := servePipe(t, s)
		c := &rawClient{t: t, nc: nc, fr: xhttp2.NewFramer(nc, nc)}
		c.enc = newTestEncoder(&c.block)
		c.fr.ReadMetaHeaders = newTestDecoder()
		c.write([]byte(preface))
		c.check(c.fr.WriteSettings())
		e.dog.Squeeze(1)
		c.headers(1, true, getHead...)
		if a := c.response(1); a.body != "ok" || e.dog.Shortened.Load() != 0 {
			t.Errorf("answer %+v", a)
		}
		e.dog.Squeeze(0)
		time.Sleep(30 * time.Second)
		begin := time.Now()
		e.dog.Squeeze(1)
		if code, debug := c.end(); code != 0 || debug != "idle" || time.Since(begin) > time.Second {
			t.Errorf("GOAWAY %v %q after %v", code, debug, time.Since(begin))
		}
		if n := e.dog.Shortened.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
		nc.Close()
	})
}

// rawHeaders is a HEADERS frame without END_HEADERS.
func rawHeaders(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[4] &^= flagEndHeaders
	return frame
}

// The client of golang.org/x/net against the server: bodies both ways at once.
func TestNetClient(t *testing.T) {
	e := newEdge(t, echo)
	//nolint:staticcheck // deprecated in favour of net/http, and here as a peer of its own
	tr := &xhttp2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	defer tr.CloseIdleConnections() //nolint:staticcheck // as above
	client := &http.Client{Transport: tr}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			body := strings.Repeat(string(rune('a'+i%26)), i*5000)
			resp, err := client.Post("http://"+e.ln.Addr().String()+"/x", "text/plain", io.MultiReader(strings.NewReader(body)))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != "POST "+e.ln.Addr().String()+"/x "+body {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	n := 0
	e.Connections(func(s ConnState) bool { n++; return s.Requests == 100 && s.Streams == 0 })
	if n != 1 || e.Requests() != 100 {
		t.Errorf("%d connections, %d requests", n, e.Requests())
	}
}
