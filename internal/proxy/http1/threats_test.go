package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// What stands where the CRLF behind the data of a chunk belongs is no chunk
// line and no part of one, whatever it is (CVE-2025-55315 and its like). The
// bytes behind it would make a whole body, if only two were passed over.
func TestChunkEnd(t *testing.T) {
	for _, end := range []string{"XX", "\rX", "X\n", "\n\n", "\r\r", "\n\r", "  ", "00"} {
		body := "3\r\nabc" + end + "0\r\n\r\n"
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			e := newEdge(t, echo)
			p := e.dial()
			p.send(chunked + body)
			if first, _ := p.head(); first != "HTTP/1.1 400 Bad Request" {
				t.Errorf("the request is answered with %q", first)
			}
			if _, r := readResponse([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+body), len(body)); r != nil {
				t.Error("the response is accepted")
			}
		})
	}
}

// {Content-Length} x {Transfer-Encoding} x {order, case, repeated}, in front of
// net/http: who is not refused is understood upstream in the one way that the
// proxy measured, and as many requests arrive as were answered.
func TestMatrixOfLengths(t *testing.T) {
	var served, smuggled atomic.Int64
	origin := newHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the upstream could not read the body: %v", err)
		}
		served.Add(1)
		if r.URL.Path == "/inner" {
			smuggled.Add(1)
		}
		fmt.Fprintf(w, "read %d", len(b))
	})
	e := newEdge(t, faultsAnswered(newPool(t, origin)))

	const inner = "GET /inner HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	const payload = "0\r\n\r\n" + inner // a whole chunked body and a request, or a body of known length
	n := fmt.Sprint(len(payload))
	type value struct {
		text string
		good bool
	}
	lengths := []value{
		{"", false}, {n, true}, {"0" + n, true}, {" " + n + "\t", true}, {n + ", " + n, false}, {n + "," + n, false}, {"+" + n, false},
		{"-" + n, false}, {"0x3a", false}, {n + ".0", false}, {n + " " + n, false}, {n + "\v", false}, {"\r\n " + n, false}, {"18446744073709551616", false},
	}
	codings := []value{
		{"", false}, {"chunked", true}, {"Chunked", true}, {"\tchunked ", true}, {"chunked, chunked", false}, {"gzip, chunked", false},
		{"chunked, identity", false}, {"identity", false}, {"xchunked", false}, {"chunked;q=1", false}, {"\vchunked", false},
		{"chunked\x00", false}, {"'chunked'", false}, {"\r\n chunked", false},
	}
	absent := value{"absent", true}
	refused := 0
	for _, length := range append(lengths, absent) {
		for _, coding := range append(codings, absent) {
			for _, form := range []string{"%s%s", "%[2]s%[1]s", "%[1]s%[1]s%[2]s", "%[1]s%[2]s%[2]s"} {
				var l, c string
				if length != absent {
					l = "Content-Length:" + length.text + "\r\n"
				}
				if coding != absent {
					c = "TRANSFER-Encoding:" + coding.text + "\r\n"
				}
				fields := fmt.Sprintf(form, l, c)
				one := strings.Count(fields, ":") == 1 && (length == absent || coding == absent)
				if fields == "" {
					continue
				}
				before := served.Load()
				p := e.dial()
				p.send("POST /outer HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + payload)
				first, _ := p.head()
				if !one || !length.good || !coding.good {
					refused++
					if first != "HTTP/1.1 400 Bad Request" || served.Load() != before {
						t.Errorf("%q: answered %q, %d requests upstream", fields, first, served.Load()-before)
					}
					p.nc.Close()
					continue
				}
				want := int64(1) // with a length, the inner one is content
				if length == absent {
					want = 2 // behind a chunked body it is a request of this client
					p.rest()
				}
				if got := served.Load() - before; first != "HTTP/1.1 200 OK" || got != want {
					t.Errorf("%q: answered %q, %d requests upstream, want %d", fields, first, got, want)
				}
				p.nc.Close()
			}
		}
	}
	if refused < 500 || smuggled.Load() == 0 {
		t.Errorf("%d refused, %d inner requests: the matrix is broken", refused, smuggled.Load())
	}
}

// Each limit at its value and one above it, in both halves, alone and shared
// with the sections that count to the same message.
func TestLimitsAtTheBoundary(t *testing.T) {
	limits := Limits{MaxHeaderCount: 4, MaxHeaderBytes: 100, MaxURIBytes: 50}
	field := func(size int) string { return "X:" + strings.Repeat("y", size-4) + "\r\n" } // of that size on the wire
	host := "Host: a\r\n"
	rest := 100 - len(host)
	te := "Transfer-Encoding: chunked\r\n"
	length := "Content-Length: 0\r\n"
	for _, c := range []struct {
		name       string
		at, above  string
		kind       stream.Kind
		isResponse bool
	}{
		{"bytes", get + field(rest) + "\r\n", get + field(rest+1) + "\r\n", stream.HeadersTooLarge, false},
		{"bytes in many fields", get + field(20) + field(rest-20) + "\r\n", get + field(20) + field(rest-19) + "\r\n", stream.HeadersTooLarge, false},
		{"fields", get + strings.Repeat("X:\r\n", 3) + "\r\n", get + strings.Repeat("X:\r\n", 4) + "\r\n", stream.TooManyHeaders, false},
		{"target", "GET /" + strings.Repeat("a", 49) + " HTTP/1.1\r\n" + host + "\r\n", "GET /" + strings.Repeat("a", 50) + " HTTP/1.1\r\n" + host + "\r\n", stream.RequestLineTooLong, false},
		{"bytes with a trailer", post + te + "\r\n0\r\n" + field(rest-len(te)) + "\r\n", post + te + "\r\n0\r\n" + field(rest-len(te)+1) + "\r\n", stream.HeadersTooLarge, false},
		{"fields with trailers", post + te + "\r\n0\r\n" + strings.Repeat("X:\r\n", 2) + "\r\n", post + te + "\r\n0\r\n" + strings.Repeat("X:\r\n", 3) + "\r\n", stream.TooManyHeaders, false},
		{"bytes of a response", "HTTP/1.1 200 OK\r\n" + length + field(100-len(length)) + "\r\n", "HTTP/1.1 200 OK\r\n" + length + field(101-len(length)) + "\r\n", stream.ResponseTooLarge, true},
		{
			"bytes of a response behind an interim one",
			"HTTP/1.1 103 Early Hints\r\n" + field(30) + "\r\nHTTP/1.1 200 OK\r\n" + length + field(70-len(length)) + "\r\n",
			"HTTP/1.1 103 Early Hints\r\n" + field(30) + "\r\nHTTP/1.1 200 OK\r\n" + length + field(71-len(length)) + "\r\n", stream.ResponseTooLarge, true,
		},
		{"status line", "HTTP/1.1 200 " + strings.Repeat("a", maxStatusLine-15) + "\r\n" + length + "\r\n", "HTTP/1.1 200 " + strings.Repeat("a", maxStatusLine-14) + "\r\n" + length + "\r\n", stream.ResponseMalformed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			try := sendLimited
			if c.isResponse {
				try = answerLimited
			}
			if f := try(t, &limits, c.at); f != nil {
				t.Errorf("at the limit: %v", f)
			}
			if f := try(t, &limits, c.above); f == nil || f.Kind != c.kind {
				t.Errorf("above the limit: %v, want %v", f, c.kind)
			}
		})
	}
}

// sendLimited is the fault of a request.
func sendLimited(t *testing.T, limits *Limits, request string) *stream.Fault {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.Limits = *limits })
	p := e.dial()
	p.send(request)
	first, _ := p.head()
	if first == "HTTP/1.1 200 OK" {
		return nil
	}
	for kind := range stream.NumKinds {
		if e.Stats.Refused[kind].Load() > 0 {
			return &stream.Fault{Kind: kind}
		}
	}
	closeWrite(p.nc)
	word, _, _ := strings.Cut(p.rest(), " ") // of a body that broke off, by the service
	for kind := range stream.NumKinds {
		if kind.String() == word {
			return &stream.Fault{Kind: kind}
		}
	}
	return &stream.Fault{Kind: stream.Internal}
}

// answerLimited is the fault of a response.
func answerLimited(t *testing.T, limits *Limits, response string) *stream.Fault {
	o := newOrigin(t)
	pool := newPool(t, o, func(cfg *ClientConfig) { cfg.Limits = *limits })
	result := make(chan error, 1)
	go func() {
		resp, err := pool.Serve(context.Background(), &stream.Request{
			Method: "GET", Target: stream.Target{Host: "a", Path: "/"}, Body: stream.NoBody, Conn: &stream.Conn{},
		})
		if err == nil {
			resp.Body.Close()
		}
		result <- err
	}()
	up := o.accept()
	up.head()
	up.send(response)
	if err := <-result; err != nil {
		return stream.AsFault(err)
	}
	return nil
}

// A chunk size that we write reads back, whatever its number of digits.
func TestChunkSizeAtTheBoundary(t *testing.T) {
	for bits := 0; 1<<bits <= pageSize; bits++ {
		for n := max(1, 1<<bits-1); n <= min(1<<bits+1, pageSize); n++ {
			var b [16]byte
			at := putChunkSize(b[:], n)
			size, line, extension, err := chunkLine(b[at:])
			if size != int64(n) || line != len(b)-at || extension != 0 || err != nil {
				t.Errorf("%d is written %q and read as %d, %v", n, b[at:], size, err)
			}
		}
	}
	if at := putChunkSize(make([]byte, reserveChunk), pageSize); at != 0 {
		t.Errorf("the largest size has %d bytes of its reserve left, want 0", at)
	}
}

// Slow peers cost what their limits say and no more: clients that stop inside a
// head just below the limit, and clients that read nothing of a response
// without end.
func TestMemoryOfSlowPeers(t *testing.T) {
	const peers = 50
	for _, c := range []struct {
		name  string
		send  string
		phase stream.Phase
		each  int64 // bytes that one may cost
	}{
		{"heads", get + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 60), stream.PhaseHead, 2*64<<10 + 16<<10},
		{"readers", get + "\r\n", stream.PhaseWrite, 2*pageSize + 16<<10},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body counted
			e := newEdge(t, stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
				return &stream.Response{Status: 200, Body: &body, Length: -1}, nil
			}))
			before := heapNow()
			for range peers {
				p := e.dial()
				if err := p.nc.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
					t.Fatal(err)
				}
				p.send(c.send)
			}
			e.comeToRest(peers, c.phase, &body)
			const slack = 4 << 20 // pages that wait to be used again, and the clients of the test
			if grown := heapNow() - before; grown > peers*c.each+slack {
				t.Errorf("%d slow peers cost %d bytes each, want at most %d", peers, grown/peers, c.each)
			}
		})
	}
}

// counted is a body without end.
type counted struct {
	endless
	n atomic.Int64
}

func (b *counted) Read(p []byte) (int, error) {
	b.n.Add(int64(len(p)))
	return b.endless.Read(p)
}

func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the pools still held at the first
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// comeToRest returns when so many connections are in the phase and the body
// has not been read for a while. To be early makes the test lenient, never wrong.
func (e *edge) comeToRest(peers int, phase stream.Phase, body *counted) {
	e.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for last, quiet := int64(-1), 0; quiet < 5; quiet++ {
		select {
		case <-tick.C:
		case <-late:
			e.t.Fatal("the connections did not come to rest")
		}
		in := 0
		e.Connections(func(s ConnState) bool {
			if s.Phase == phase {
				in++
			}
			return true
		})
		if read := body.n.Load(); in != peers || read != last {
			last, quiet = read, 0
		}
	}
}

// What is read and thrown away behind a refusal is bounded, not only its time.
func TestLingerReadsNoFlood(t *testing.T) {
	e := newEdge(t, echo, func(cfg *ServerConfig) { cfg.Phases[stream.PhaseLinger].Ceiling = 100 * time.Millisecond })
	p := e.dial()
	p.send("?\r\n\r\n")
	for piece := make([]byte, 64<<10); ; {
		if _, err := p.nc.Write(piece); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the flood goes on")
		} else if err != nil {
			return
		}
	}
}

// A client that sends more than that gets the response all the same: it is held
// up, not reset, until the phase ends.
func TestLingerHoldsTheFloodUp(t *testing.T) {
	e := newEdge(t, echo)
	p := e.dial()
	p.send("?\r\n\r\n")
	p.nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for piece := make([]byte, 64<<10); ; {
		if _, err := p.nc.Write(piece); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatalf("the response is lost: %v", err)
		}
	}
	if first, _ := p.head(); first != "HTTP/1.1 400 Bad Request" {
		t.Error(first)
	}
}

// One empty line may stand before a request line (RFC 9112 section 2.2), not a
// stream of them that never becomes a request, however it is cut into pieces.
func TestEmptyLinesBeforeARequest(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		want   string
	}{
		{[]string{"\r\n", get + "\r\n"}, "HTTP/1.1 200 OK"},
		{[]string{"\r", "\n", get + "\r\n"}, "HTTP/1.1 200 OK"},
		{[]string{"\r\n", "\r\n", get + "\r\n"}, "HTTP/1.1 400 Bad Request"},
		{[]string{"\r", "\n", "\r", "\n"}, "HTTP/1.1 400 Bad Request"},
		{[]string{"\r", "\r"}, "HTTP/1.1 400 Bad Request"},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			var dog watchdog.Dog
			server := NewServer(ServerConfig{
				Limits: testLimits, Service: echo, Refuse: refuse, Go: func(f func()) { go f() }, Dog: &dog, Phases: testPhases,
			})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				server.Serve(context.Background(), far, facts(far))
			}()
			go func() {
				for _, piece := range c.pieces {
					near.Write([]byte(piece))
					synctest.Wait()
				}
			}()
			p := newPeer(t, near)
			if first, _ := p.head(); first != c.want {
				t.Errorf("%q: %s, want %s", c.pieces, first, c.want)
			}
			near.Close()
			<-ended
		})
	}
}

// An upstream may nominate fields of its own for removal, but none that is
// meant for every recipient: those survive (CVE-2021-33197, the other way).
func TestResponseNominatesFields(t *testing.T) {
	o := newOrigin(t)
	e := newEdge(t, newPool(t, o))
	p := e.dial()
	p.send(get + "\r\n")
	up := o.accept()
	up.head()
	up.send("HTTP/1.1 200 OK\r\nConnection: set-cookie, Content-Security-Policy, X-Hop, content-length\r\n" +
		"Set-Cookie: a=b\r\nX-Hop: 1\r\nContent-Security-Policy: none\r\nContent-Length: 0\r\n\r\n")
	first, fields := p.head()
	got := strings.Join(fields, "\n") + "\n"
	for _, want := range []string{"Set-Cookie: a=b\n", "Content-Security-Policy: none\n", "Content-Length: 0\n"} {
		if first != "HTTP/1.1 200 OK" || !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", first, want, got)
		}
	}
	if strings.Contains(got, "X-Hop") {
		t.Errorf("a field of the upstream's connection goes on:\n%s", got)
	}
}

// A body that ends before its declared length, whoever made it, ends the
// connection: what followed would be taken for the rest.
func TestShortBodyIsCut(t *testing.T) {
	e := newEdge(t, stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Body: &streamed{Reader: strings.NewReader("abc")}, Length: 10}, nil
	}))
	p := e.dial()
	p.send(get + "\r\n" + get + "\r\n")
	if first, _ := p.head(); first != "HTTP/1.1 200 OK" {
		t.Errorf("answered %q", first)
	}
	if rest := p.rest(); rest != "abc" {
		t.Errorf("behind the head came %q", rest)
	}
	if ex := e.exchange(0); ex.Fault == nil || ex.Fault.Kind != stream.ResponseTruncated {
		t.Errorf("the fault is %v", ex.Fault)
	}
}

// streamed is a body that is not in memory.
type streamed struct{ io.Reader }

func (*streamed) Close() error            { return nil }
func (*streamed) Trailer() *stream.Header { return nil }
