package http1

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/weirproxy/weir/stream"
)

const (
	sampleRequest = "GET /v1/things/42?page=2&sort=asc HTTP/1.1\r\nHost: shop.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
		"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n" +
		"Referer: https://shop.example.com/v1/things\r\nX-Request-Id: 6f1c2d3e\r\n\r\n"
	sampleResponse = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 100\r\nCache-Control: no-store\r\n\r\n"
)

var sampleBody = strings.Repeat("b", 100)

// parseSample parses one request head as the server half does.
func parseSample(r *requestReader, req *stream.Request, b []byte) *stream.Fault {
	r.scan.reset(1)
	r.m.reset()
	done, f := r.scan.scan(b, &r.m)
	if !done || f != nil {
		return f
	}
	h := req.Header
	h.Reset()
	*req = stream.Request{Header: h}
	return r.parse(string(b[:r.scan.at]), req, "http")
}

func newRequestReader(l *Limits) *requestReader {
	return &requestReader{m: meter{side: &requestSide, limits: l}}
}

func BenchmarkParseHead(b *testing.B) {
	r, req, head := newRequestReader(&testLimits), new(stream.Request), []byte(sampleRequest)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if f := parseSample(r, req, head); f != nil {
			b.Fatal(f)
		}
	}
}

// answerAll serves canned responses on a connection until it ends.
func answerAll(nc net.Conn, requestSize func([]byte) int, response []byte) {
	buf := make([]byte, 64<<10)
	n := 0
	for {
		m, err := nc.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		for size := requestSize(buf[:n]); size > 0 && n >= size; size = requestSize(buf[:n]) {
			n = copy(buf, buf[size:n])
			if _, err := nc.Write(response); err != nil {
				return
			}
		}
	}
}

func headSize(b []byte) int { return bytes.Index(b, []byte("\r\n\r\n")) + 4 }

// benchProxy is a whole proxy on loopback, with a client that sends request
// and reads size bytes of response.
func benchProxy(b testing.TB, response string) (exchange func(), stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				answerAll(nc, func(p []byte) int {
					if n := headSize(p); n > 3 {
						return n
					}
					return 0
				}, []byte(response))
			}()
		}
	}()
	b.Cleanup(func() { ln.Close() })
	e := newEdge(b, newPool(b, &origin{t: b, ln: ln}), func(cfg *ServerConfig) { cfg.Done = nil })
	nc, err := net.Dial("tcp", e.ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, len(response))
	request := []byte(sampleRequest)
	exchange = func() {
		if _, err := nc.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			b.Fatal(err)
		}
	}
	return exchange, func() { nc.Close() }
}

func BenchmarkProxyExchange(b *testing.B) {
	exchange, stop := benchProxy(b, sampleResponse+sampleBody)
	defer stop()
	exchange()
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}

// allocsPer is what one exchange allocates, on all goroutines.
func allocsPer(t *testing.T, exchange func()) float64 {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for range 100 {
		exchange()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 2000
	for range n {
		exchange()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / n
}

// One string per head, one handle per response; what is above that is what a
// garbage collection takes out of the pool of pages.
func TestAllocsProxyExchange(t *testing.T) {
	exchange, stop := benchProxy(t, sampleResponse+sampleBody)
	defer stop()
	if per := allocsPer(t, exchange); per > 3.2 {
		t.Errorf("%.2f allocations per exchange, want at most 3", per)
	}
}

// However long the response is.
func TestAllocsProxyStream(t *testing.T) {
	head := strings.Replace(sampleResponse, "Content-Length: 100\r\n", "Content-Length: 300000\r\n", 1)
	exchange, stop := benchProxy(t, head+strings.Repeat("b", 300000))
	defer stop()
	if per := allocsPer(t, exchange); per > 3.5 {
		t.Errorf("%.2f allocations per exchange, want at most 3", per)
	}
}

// However many fields there are.
func TestAllocsParseHead(t *testing.T) {
	head := []byte(get + strings.Repeat("X-Field: some value\r\n", 90) + "\r\n")
	r, req := newRequestReader(&testLimits), new(stream.Request)
	per := testing.AllocsPerRun(100, func() {
		if f := parseSample(r, req, head); f != nil {
			t.Fatal(f)
		}
	})
	if per != 1 {
		t.Errorf("%v allocations per head, want 1", per)
	}
}

// BenchmarkProxyLarge is a response of 1 MiB.
func BenchmarkProxyLarge(b *testing.B) {
	const size = 1 << 20
	head := strings.Replace(sampleResponse, "Content-Length: 100\r\n", "Content-Length: 1048576\r\n", 1)
	exchange, stop := benchProxy(b, head+strings.Repeat("b", size))
	defer stop()
	exchange()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		exchange()
	}
}
