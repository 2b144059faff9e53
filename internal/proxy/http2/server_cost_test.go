package http2

import (
	"bytes"
	"context"
	"io"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// exchangeLoop makes one request and reads its answer with next to no work of
// its own: what it measures is the server.
type exchangeLoop struct {
	c    *rawClient
	id   uint32
	out  []byte
	in   []byte
	head []byte
}

func newExchangeLoop(tb testing.TB) *exchangeLoop {
	body := bytes.Repeat([]byte("x"), 100)
	resp := &stream.Response{Status: 200, Length: int64(len(body))}
	resp.Header.AddID(stream.ContentType, "text/plain")
	e := newEdge(tb, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		resp.Body = stream.BytesBody(body) // one of the allocations
		return resp, nil
	}), func(cfg *ServerConfig) { cfg.Done = nil })
	l := &exchangeLoop{c: e.dial(), in: make([]byte, 4096)}
	l.c.headers(1, true, getHead...)
	l.c.response(1)
	l.c.check(l.c.fr.WriteWindowUpdate(0, 1<<30))
	l.head = l.c.fields(getHead...) // from the table by now
	l.id = 1
	return l
}

func (l *exchangeLoop) exchange(tb testing.TB) {
	l.id += 2
	l.out = appendFrameHeader(l.out[:0], len(l.head), frameHeaders, flagEndHeaders|flagEndStream, l.id)
	l.out = append(l.out, l.head...)
	if _, err := l.c.nc.Write(l.out); err != nil {
		tb.Fatal(err)
	}
	n := 0
	for {
		m, err := l.c.nc.Read(l.in[n:])
		if err != nil {
			tb.Fatal(err)
		}
		if n += m; n > frameHeaderSize+100 && l.in[n-1] == 'x' {
			return
		}
	}
}

func TestAllocsExchange(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := newExchangeLoop(t)
	for range 100 {
		l.exchange(t)
	}
	// What is handed out to be kept (context and body), the list of fields once
	// the pool is cold, and the body of the response, which is the test's.
	if n := testing.AllocsPerRun(1000, func() { l.exchange(t) }); n > 3 {
		t.Errorf("%v allocations for an exchange, want 3 at most", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	l := newExchangeLoop(b)
	b.ReportAllocs()
	for b.Loop() {
		l.exchange(b)
	}
}

// BenchmarkFrames is why frames are read in place: the same bytes, 100 heads,
// through our reader and through the Framer of golang.org/x/net/http2.
func BenchmarkFrames(b *testing.B) {
	var input []byte
	for i := range 100 {
		input = append(appendFrameHeader(input, 20, frameHeaders, flagEndHeaders|flagEndStream, uint32(2*i+1)), make([]byte, 20)...)
	}
	b.Run("InPlace", func(b *testing.B) {
		b.ReportAllocs()
		var r frameReader
		r.makeRoom()
		for b.Loop() {
			r.r, r.w = 0, copy(r.page[:], input)
			for ok := true; ok; {
				_, ok, _ = r.next()
			}
		}
	})
	b.Run("Framer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fr := xhttp2.NewFramer(io.Discard, bytes.NewReader(input))
			fr.SetReuseFrames()
			for {
				if _, err := fr.ReadFrame(); err != nil {
					break
				}
			}
		}
	})
}

// BenchmarkDecode: a head whose fields the table has, and one with new values.
func BenchmarkDecode(b *testing.B) {
	c := rawClient{t: b}
	c.enc = newTestEncoder(&c.block)
	first := c.fields(getHead...)
	second := c.fields(getHead...)
	limits := serverLimits
	literal := append(bytes.Clone(second), "\x00\x03x-y\x0512345\x00\x03x-z\x0554321"...)
	for name, block := range map[string][]byte{"Indexed": second, "Literals": literal} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var d decoder
			d.init()
			m := meter{side: &requestSide, limits: &limits}
			d.decode(first, &m)
			for b.Loop() {
				m.count, m.bytes = 0, 0
				if _, over, bad := d.decode(block, &m); over != nil || bad != nil {
					b.Fatal(over, bad)
				}
			}
		})
	}
}
