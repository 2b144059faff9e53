package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirproxy/weir/stream"
)

// replay is a connection that gives the same bytes, step at a time.
type replay struct {
	net.Conn
	rest []byte
	step int
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest[:min(len(r.rest), r.step)])
	r.rest = r.rest[n:]
	return n, nil
}

// direct is a filler without phases.
type direct struct{ src *source }

func (d direct) fill() error                    { return d.src.fill() }
func (d direct) readInto(p []byte) (int, error) { return d.src.nc.Read(p) }

// read is what one of the halves makes of a message.
type reading struct {
	First   string // method and target, or status
	Header  []string
	Body    string
	Trailer []string
	Rest    string // unread bytes behind the message
}

var fuzzLimits = Limits{MaxHeaderCount: 1000, MaxHeaderBytes: 1 << 20, MaxURIBytes: 1 << 20}

// scanAll reads a head from src.
func scanAll(src *source, scan *scanner, m *meter) (string, *stream.Fault) {
	scan.reset(1)
	for {
		if err := src.fill(); err != nil {
			return "", stream.AsFault(err)
		}
		done, f := scan.scan(src.bytes(), m)
		if f != nil {
			return "", f
		}
		if done {
			head := string(src.bytes()[:scan.at])
			src.consume(scan.at)
			return head, nil
		}
	}
}

// readBody reads the content behind a head.
func readBody(src *source, m *meter, kind bodyKind, left int64, r *reading) *stream.Fault {
	c := content{src: src, from: direct{src}, m: m}
	c.begin(kind, left)
	buf := make([]byte, 100)
	for {
		n, err := c.read(buf)
		r.Body += string(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return stream.AsFault(err)
		}
	}
	if c.hasTrailer {
		r.Trailer = fieldList(&c.trailer)
	}
	r.Rest = string(src.bytes()) + string(src.nc.(*replay).rest)
	src.release()
	return nil
}

func fieldList(h *stream.Header) (list []string) {
	for _, f := range h.Fields() {
		list = append(list, textproto.CanonicalMIMEHeaderKey(f.Name)+": "+f.Value)
	}
	sort.Strings(list)
	return list
}

// readRequest is our reading of a request; nil when it is refused.
func readRequest(data []byte, step int) (*reading, *requestReader) {
	src := new(source)
	src.init(&replay{rest: data, step: step})
	r := newRequestReader(&fuzzLimits)
	head, f := scanAll(src, &r.scan, &r.m)
	if f != nil {
		return nil, nil
	}
	req := new(stream.Request)
	if f := r.parse(head, req, ""); f != nil {
		return nil, nil
	}
	line := strings.Split(r.scan.line(head, 0), " ")
	got := &reading{First: line[0] + " " + line[1], Header: fieldList(&req.Header)}
	kind, left := knownContent, req.Length
	if left < 0 {
		kind, left = chunkedContent, 0
	}
	if f := readBody(src, &r.m, kind, left, got); f != nil {
		return nil, nil
	}
	return got, r
}

// theirs lists the fields of a net/http header that ours would have too.
func theirs(h http.Header, fr *framing) (list []string) {
	for name, values := range h {
		if ownedField[stream.Lookup(name)] || nominated(fr, name) {
			continue
		}
		for _, v := range values {
			list = append(list, name+": "+v)
		}
	}
	sort.Strings(list)
	return list
}

func nominated(fr *framing, name string) bool {
	for _, o := range fr.options {
		if stream.EqualFold(o, name) && !essential(o) {
			return true
		}
	}
	return false
}

// FuzzRequest: what we accept, however it is cut into pieces, net/http accepts
// too, and understands it in the same way. The exceptions: net/http makes
// Cache-Control of Pragma, and drops trailers that were not announced.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		sampleRequest, get + "\r\n", post + "Content-Length: 3\r\n\r\nabc", chunked + "3\r\nabc\r\n0\r\n\r\n" + get,
		chunked + "3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na",
		get + "Connection: close, x-a\r\nX-A: 1\r\nX-B: 2\r\nX-B:\t3 \r\n\r\n", get + "Pragma: no-cache\r\n\r\n",
		get + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole, _ := readRequest(bytes.Clone(data), len(data)+1)
		ours, r := readRequest(bytes.Clone(data), int(step)+1)
		if diff := cmp.Diff(whole, ours); diff != "" {
			t.Fatalf("the reading depends on the pieces:\n%s", diff)
		}
		if ours == nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(data))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("net/http refuses what we accept: %v", err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatalf("net/http refuses the body that we accept: %v", err)
		}
		rest, _ := io.ReadAll(br)
		if req.Header.Get("Pragma") == "no-cache" && len(ours.Header) < len(theirs(req.Header, &r.fr)) {
			req.Header.Del("Cache-Control")
		}
		got := &reading{First: req.Method + " " + req.RequestURI, Header: theirs(req.Header, &r.fr), Body: string(body), Rest: string(rest)}
		got.Trailer = ours.Trailer
		if diff := cmp.Diff(got, ours); diff != "" {
			t.Fatalf("net/http understands it in another way:\n%s", diff)
		}
	})
}

// readResponse is our reading of a response to GET; nil when it is refused.
func readResponse(data []byte, step int) (*reading, *responseReader) {
	src := new(source)
	src.init(&replay{rest: data, step: step})
	r := &responseReader{m: meter{side: &responseSide, limits: &fuzzLimits}}
	head, f := scanAll(src, &r.scan, &r.m)
	if f != nil {
		return nil, nil
	}
	resp := new(stream.Response)
	if f := r.parse(head, resp); f != nil {
		return nil, nil
	}
	kind, left, _ := r.framing(resp.Status, false)
	if resp.Status < 200 {
		kind = noContent
	}
	got := &reading{First: fmt.Sprint(resp.Status), Header: fieldList(&resp.Header)}
	if f := readBody(src, &r.m, kind, left, got); f != nil {
		return nil, nil
	}
	return got, r
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		sampleResponse + sampleBody, "HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.0 200\r\nContent-Length: 3\r\n\r\nabcd",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 999 \r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole, _ := readResponse(bytes.Clone(data), len(data)+1)
		ours, r := readResponse(bytes.Clone(data), int(step)+1)
		if diff := cmp.Diff(whole, ours); diff != "" {
			t.Fatalf("the reading depends on the pieces:\n%s", diff)
		}
		if ours == nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(data))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("net/http refuses what we accept: %v", err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("net/http refuses the body that we accept: %v", err)
		}
		rest, _ := io.ReadAll(br)
		if resp.Header.Get("Pragma") == "no-cache" && len(ours.Header) < len(theirs(resp.Header, &r.fr)) {
			resp.Header.Del("Cache-Control")
		}
		got := &reading{First: fmt.Sprint(resp.StatusCode), Header: theirs(resp.Header, &r.fr), Body: string(body), Rest: string(rest)}
		got.Trailer = ours.Trailer
		if diff := cmp.Diff(got, ours); diff != "" {
			t.Fatalf("net/http understands it in another way:\n%s", diff)
		}
	})
}

// FuzzChunked: what we decode, we and net/http decode alike, and what we write
// of it decodes to the same again.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "00a\r\n0123456789\r\n0;x\r\nX-A: b\r\n\r\nrest", "3\nabc\n0\n\n", "1;\r\na\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		src := new(source)
		src.init(&replay{rest: bytes.Clone(data), step: int(step) + 1})
		m := &meter{side: &requestSide, limits: &fuzzLimits}
		var ours reading
		if readBody(src, m, chunkedContent, 0, &ours) != nil {
			return
		}
		br := bufio.NewReader(io.MultiReader(strings.NewReader(chunked), bytes.NewReader(data)))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || string(body) != ours.Body {
			t.Fatalf("net/http decodes %q, %v, we %q", body, err, ours.Body)
		}
		p := new(page)
		var again reading
		n := copy(p[reserveChunk:pageSize-2], ours.Body)
		out, err := frameChunk(p, n, true, stream.BytesBody(nil))
		if err != nil {
			t.Fatal(err)
		}
		src.init(&replay{rest: out, step: int(step) + 1})
		if f := readBody(src, m, chunkedContent, 0, &again); f != nil || again.Body != ours.Body[:n] {
			t.Fatalf("%q is encoded as %q and read as %q, %v", ours.Body, out, again.Body, f)
		}
	})
}

// The targets compare only what is accepted; so that they compare something.
func TestFuzzSeedsAreRead(t *testing.T) {
	if r, _ := readRequest([]byte(sampleRequest), 7); r == nil {
		t.Error("the sample request is refused")
	}
	if r, _ := readRequest([]byte(chunked+"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nrest"), 1); r == nil || r.Body != "abc" || r.Rest != "rest" || len(r.Trailer) != 1 {
		t.Errorf("the chunked request is read as %+v", r)
	}
	if r, _ := readResponse([]byte(sampleResponse+sampleBody), 7); r == nil || r.Body != sampleBody {
		t.Errorf("the sample response is read as %+v", r)
	}
}
