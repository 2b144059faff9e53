package http2

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

var serverLimits = Limits{MaxHeaderCount: 100, MaxHeaderBytes: 64 << 10, MaxURIBytes: 8 << 10}

// serverPhases are limits that no test reaches unless it means to.
var serverPhases = func() (l stream.PhaseLimits) {
	for p := range stream.NumPhases {
		l[p] = stream.PhaseLimit{Idle: 30 * time.Second, Ceiling: 10 * time.Minute}
	}
	l[stream.PhaseLinger] = stream.PhaseLimit{Ceiling: time.Second}
	return l
}()

// serviceFunc is a stream.Service.
type serviceFunc func(ctx context.Context, req *stream.Request) (*stream.Response, error)

func (f serviceFunc) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	return f(ctx, req)
}

func textResponse(status int, s string) *stream.Response {
	return &stream.Response{Status: status, Body: stream.BytesBody([]byte(s)), Length: int64(len(s))}
}

// refuseText answers a fault with its kind as text, the limit behind it.
func refuseText(_ context.Context, _ *stream.Request, f *stream.Fault) *stream.Response {
	status := map[stream.Kind]int{
		stream.RequestLineTooLong: 414, stream.HeadersTooLarge: 431, stream.TooManyHeaders: 431,
		stream.BodyTooLarge: 413, stream.MethodUnsupported: 501, stream.ExpectationUnknown: 417,
		stream.BodyTimeout: 408, stream.Internal: 500, stream.RequestMalformed: 400, stream.ClientTooSlow: 408,
	}[f.Kind]
	if status == 0 {
		status = 502
	}
	return textResponse(status, f.Kind.String()+" "+f.Limit)
}

// edge is a Server on a loopback listener.
type edge struct {
	*Server
	t    testing.TB
	ln   net.Listener
	goes sync.WaitGroup
	dog  watchdog.Dog

	mu   sync.Mutex
	done []stream.Exchange
	ends chan struct{} // one for each done
}

func (e *edge) spawn(f func()) { e.goes.Go(f) }

// newEdge starts a Server in front of service; with changes its settings.
func newEdge(t testing.TB, service stream.Service, with ...func(*ServerConfig)) *edge {
	t.Helper()
	e := &edge{t: t, ends: make(chan struct{}, 100000)}
	cfg := ServerConfig{
		Limits: serverLimits, MaxStreams: 100, StreamWindow: 256 << 10, ConnectionWindow: 1 << 20, MaxAbuse: 1000,
		Service: service, Refuse: refuseText, Go: e.spawn, Dog: &e.dog, Phases: serverPhases,
		Done: func(req *stream.Request) {
			e.mu.Lock()
			e.done = append(e.done, req.Exchange)
			e.mu.Unlock()
			select {
			case e.ends <- struct{}{}:
			default:
			}
		},
	}
	for _, w := range with {
		w(&cfg)
	}
	e.Server = NewServer(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.ln = ln
	ctx, cancel := context.WithCancel(context.Background())
	e.spawn(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			e.spawn(func() { e.Serve(ctx, nc, &stream.Conn{ID: 1, Listener: "test", Accepted: time.Now()}) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		e.goes.Wait()
	})
	return e
}

// exchange is the n-th finished exchange; it waits for it.
func (e *edge) exchange(n int) stream.Exchange {
	e.t.Helper()
	for {
		e.mu.Lock()
		if len(e.done) > n {
			defer e.mu.Unlock()
			return e.done[n]
		}
		e.mu.Unlock()
		select {
		case <-e.ends:
		case <-time.After(10 * time.Second):
			e.t.Fatal("the exchange did not end")
		}
	}
}

// rawClient is the client's end of a connection, frame by frame.
type rawClient struct {
	t     testing.TB
	nc    net.Conn
	fr    *xhttp2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
}

// dialRaw opens a connection without a word.
func (e *edge) dialRaw() *rawClient {
	e.t.Helper()
	nc, err := net.Dial("tcp", e.ln.Addr().String())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	c := &rawClient{t: e.t, nc: nc, fr: xhttp2.NewFramer(nc, nc)}
	c.enc = hpack.NewEncoder(&c.block)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.AllowIllegalWrites = true
	return c
}

// dial opens a connection and says the preface.
func (e *edge) dial(settings ...xhttp2.Setting) *rawClient {
	e.t.Helper()
	c := e.dialRaw()
	c.write([]byte(preface))
	c.check(c.fr.WriteSettings(settings...))
	return c
}

func (c *rawClient) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) write(p []byte) {
	c.t.Helper()
	_, err := c.nc.Write(p)
	c.check(err)
}

// fields encodes a header block of "name", "value", ...
func (c *rawClient) fields(list ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(list); i += 2 {
		c.check(c.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}))
	}
	return bytes.Clone(c.block.Bytes())
}

var getHead = []string{":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", "/"}
var postHead = []string{":method", "POST", ":scheme", "http", ":authority", "example.com", ":path", "/"}

func head(base []string, more ...string) []string {
	return append(append([]string(nil), base...), more...)
}

// headers writes HEADERS with all of a block.
func (c *rawClient) headers(id uint32, end bool, list ...string) {
	c.t.Helper()
	c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.fields(list...), EndStream: end, EndHeaders: true,
	}))
}

// next is the next frame that is not SETTINGS, WINDOW_UPDATE or PING.
func (c *rawClient) next() (xhttp2.Frame, error) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f.(type) {
		case *xhttp2.SettingsFrame, *xhttp2.WindowUpdateFrame, *xhttp2.PingFrame:
			continue
		}
		return f, nil
	}
}

// roundTrip waits until the server has handled all that was sent.
func (c *rawClient) roundTrip() {
	c.t.Helper()
	c.check(c.fr.WritePing(false, [8]byte{7}))
	for {
		f, err := c.fr.ReadFrame()
		c.check(err)
		if p, ok := f.(*xhttp2.PingFrame); ok && p.IsAck() {
			return
		}
	}
}

// answer is a response as a client saw it.
type answer struct {
	status  string
	fields  map[string]string
	body    string
	trailer map[string]string
	reset   xhttp2.ErrCode
	wasCut  bool
}

// response reads the frames of one stream until its end; those of others are lost.
func (c *rawClient) response(id uint32) (a answer) {
	c.t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			c.t.Fatalf("response on stream %d: %v after %+v", id, err, a)
		}
		if goAway, ok := f.(*xhttp2.GoAwayFrame); ok && goAway.ErrCode != 0 {
			c.t.Fatalf("GOAWAY %v %s", goAway.ErrCode, goAway.DebugData())
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			fields := map[string]string{}
			for _, hf := range f.Fields {
				fields[hf.Name] = hf.Value
			}
			if a.status == "" || a.status[0] == '1' {
				a.status, a.fields = fields[":status"], fields
			} else {
				a.trailer = fields
			}
		case *xhttp2.DataFrame:
			a.body += string(f.Data())
		case *xhttp2.RSTStreamFrame:
			a.reset, a.wasCut = f.ErrCode, true
			return a
		}
		if f.Header().Flags.Has(xhttp2.FlagDataEndStream) {
			return a
		}
	}
}

// end reads until GOAWAY with an error or the end of the connection.
func (c *rawClient) end() (code xhttp2.ErrCode, debug string) {
	c.t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			if err != io.EOF && !strings.Contains(err.Error(), "reset") {
				c.t.Fatalf("the connection did not end: %v", err)
			}
			return code, debug
		}
		if g, ok := f.(*xhttp2.GoAwayFrame); ok {
			code, debug = g.ErrCode, string(g.DebugData())
		}
	}
}

func newTestEncoder(b *bytes.Buffer) *hpack.Encoder { return hpack.NewEncoder(b) }
func newTestDecoder() *hpack.Decoder                { return hpack.NewDecoder(4096, nil) }
