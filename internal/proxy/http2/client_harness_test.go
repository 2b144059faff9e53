package http2

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// clientSetup is a ClientConfig whose goroutines a test waits for.
type clientSetup struct {
	cfg   ClientConfig
	dog   watchdog.Dog
	tasks sync.WaitGroup
	ended atomic.Int64
	live  atomic.Int64 // goroutines
	most  atomic.Int64
}

func newClientSetup(t testing.TB) *clientSetup {
	u := &clientSetup{}
	u.cfg = ClientConfig{
		Limits:     Limits{MaxHeaderCount: 100, MaxHeaderBytes: 64 << 10},
		MaxStreams: 128, StreamWindow: 256 << 10, ConnectionWindow: 4 << 20,
		Dog: &u.dog,
		Log: slog.New(slog.DiscardHandler),
		Go: func(f func()) {
			if n := u.live.Add(1); n > u.most.Load() {
				u.most.Store(n)
			}
			u.tasks.Add(1)
			go func() {
				defer u.tasks.Done()
				defer u.live.Add(-1)
				f()
			}()
		},
	}
	for p := range u.cfg.Phases {
		u.cfg.Phases[p] = stream.PhaseLimit{Idle: 30 * time.Second}
	}
	t.Cleanup(u.tasks.Wait)
	return u
}

// connect makes a client of nc.
func (u *clientSetup) connect(t testing.TB, nc net.Conn) *Client {
	t.Helper()
	c := NewClient(nc, &u.cfg, func() { u.ended.Add(1) })
	t.Cleanup(func() { c.Close() })
	return c
}

// dial makes a client of a connection to address that is ready.
func (u *clientSetup) dial(t testing.TB, address string) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := u.connect(t, nc)
	if err := c.Ready(t.Context(), time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// do takes a place and serves req.
func do(t testing.TB, c *Client, req *stream.Request) (*stream.Response, error) {
	t.Helper()
	if !c.Reserve() {
		t.Fatal("no place")
	}
	return c.Serve(context.Background(), req)
}

// clientRequest is a request to path with a body; length -1 streams it.
func clientRequest(method, path string, body stream.Body, length int64) *stream.Request {
	if body == nil {
		body = stream.NoBody
	}
	return &stream.Request{
		Method: method, Target: stream.Target{Scheme: "http", Host: "example.com", Path: path},
		Proto: stream.HTTP2, Body: body, Length: length, Conn: &stream.Conn{},
	}
}

// pipeBody is a body that a test writes.
type pipeBody struct {
	*io.PipeReader
	trailer   *stream.Header
	announced string
}

func (b *pipeBody) Trailer() *stream.Header { return b.trailer }
func (b *pipeBody) Announced() string       { return b.announced }
func (b *pipeBody) Read(p []byte) (int, error) {
	n, err := b.PipeReader.Read(p)
	if err != nil && err != io.EOF {
		err = &stream.Fault{Kind: stream.ClientGone, Cause: err}
	}
	return n, err
}

func newPipeBody() (*pipeBody, *io.PipeWriter) {
	r, w := io.Pipe()
	return &pipeBody{PipeReader: r}, w
}

// readAll reads a body to its end.
func readAll(t testing.TB, resp *stream.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body after %d bytes: %v", len(b), err)
	}
	return string(b)
}

// fakeUpstream is the other end of a connection, frame by frame.
type fakeUpstream struct {
	t    testing.TB
	nc   net.Conn
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	mu   sync.Mutex // of writes
	seen chan seenFrame
}

// seenFrame is what the client sent.
type seenFrame struct {
	http2.FrameHeader
	fields map[string]string
	data   string
	code   http2.ErrCode
	n      uint32
}

// newFakeUpstream makes a client whose upstream is a script. The first SETTINGS
// are sent with the given ones.
func newFakeUpstream(t testing.TB, u *clientSetup, settings ...http2.Setting) (*Client, *fakeUpstream) {
	t.Helper()
	c, up := newSilentUpstream(t, u)
	up.write(func(fr *http2.Framer) error { return fr.WriteSettings(settings...) })
	if err := c.Ready(t.Context(), time.Now().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, up
}

// newSilentUpstreamDeaf is a client whose upstream neither reads nor writes.
func newSilentUpstreamDeaf(t testing.TB, u *clientSetup) (*Client, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mine, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return u.connect(t, mine), theirs
}

func newSilentUpstream(t testing.TB, u *clientSetup) (*Client, *fakeUpstream) {
	t.Helper()
	c, theirs := newSilentUpstreamDeaf(t, u)
	up := &fakeUpstream{t: t, nc: theirs, fr: http2.NewFramer(theirs, theirs), seen: make(chan seenFrame, 10_000)}
	up.fr.AllowIllegalWrites = true
	up.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	up.enc = hpack.NewEncoder(&up.buf)
	var group sync.WaitGroup
	group.Go(up.read)
	t.Cleanup(group.Wait)
	t.Cleanup(func() { theirs.Close() })
	return c, up
}

// read takes what the client sends.
func (up *fakeUpstream) read() {
	defer close(up.seen)
	first := make([]byte, len(preface))
	if _, err := io.ReadFull(up.nc, first); err != nil || string(first) != preface {
		return
	}
	for {
		f, err := up.fr.ReadFrame()
		if err != nil {
			return
		}
		s := seenFrame{FrameHeader: f.Header()}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			s.fields = map[string]string{}
			for _, h := range f.Fields {
				s.fields[h.Name] = h.Value
			}
		case *http2.DataFrame:
			s.data = string(f.Data())
		case *http2.RSTStreamFrame:
			s.code = f.ErrCode
		case *http2.GoAwayFrame:
			s.code, s.data = f.ErrCode, string(f.DebugData())
		case *http2.WindowUpdateFrame:
			s.n = f.Increment
		case *http2.PingFrame:
			s.data = string(f.Data[:])
		}
		select {
		case up.seen <- s:
		default: // a test that floods does not look
		}
	}
}

// expect is the next frame of that type, others left out.
func (up *fakeUpstream) expect(typ http2.FrameType) seenFrame {
	up.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case f, ok := <-up.seen:
			if !ok {
				up.t.Fatalf("the connection ended without %v", typ)
			}
			if f.Type == typ {
				return f
			}
		case <-limit:
			up.t.Fatalf("no %v came", typ)
		}
	}
}

// write sends frames.
func (up *fakeUpstream) write(f func(fr *http2.Framer) error) error {
	up.mu.Lock()
	defer up.mu.Unlock()
	return f(up.fr)
}

// raw sends bytes.
func (up *fakeUpstream) raw(p []byte) error {
	up.mu.Lock()
	defer up.mu.Unlock()
	_, err := up.nc.Write(p)
	return err
}

func (up *fakeUpstream) block(fields ...string) []byte {
	up.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		up.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(up.buf.Bytes())
}

// headers sends a header block in one frame.
func (up *fakeUpstream) headers(id uint32, end bool, fields ...string) {
	up.write(func(fr *http2.Framer) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: up.block(fields...), EndStream: end, EndHeaders: true,
		})
	})
}

func (up *fakeUpstream) data(id uint32, end bool, p string) {
	up.write(func(fr *http2.Framer) error { return fr.WriteData(id, end, []byte(p)) })
}

func (up *fakeUpstream) reset(id uint32, code http2.ErrCode) {
	up.write(func(fr *http2.Framer) error { return fr.WriteRSTStream(id, code) })
}

func (up *fakeUpstream) goAway(last uint32, code http2.ErrCode) {
	up.write(func(fr *http2.Framer) error { return fr.WriteGoAway(last, code, nil) })
}

// rawFrame is a frame as it stands on the wire.
func rawFrame(typ frameType, flags uint8, id uint32, payload []byte) []byte {
	return append(appendFrameHeader(nil, len(payload), typ, flags, id), payload...)
}

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// expectFault compares kind and retry.
func expectFault(t testing.TB, err error, kind stream.Kind, retry stream.Retry) {
	t.Helper()
	if err == nil {
		t.Fatalf("no fault, want %v", kind)
	}
	if f := stream.AsFault(err); f.Kind != kind || f.Retry != retry {
		t.Fatalf("fault %v, retry %d; want %v, %d", f, f.Retry, kind, retry)
	}
}

// streamsOf is how many streams are open.
func streamsOf(c *Client) int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.streams)
}

// objectsOf is how many stream objects wait for an exchange.
func objectsOf(c *Client) int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.free)
}
