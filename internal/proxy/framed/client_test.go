package framed

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// dialled is a Client with the other end of its connection.
type dialled struct {
	*Client
	t        testing.TB
	dog      watchdog.Dog
	far      net.Conn
	r        *bufio.Reader
	released []bool
}

func newClient(t testing.TB, framing config.Framing) *dialled {
	near, far := pair(t)
	return clientOn(t, near, far, framing)
}

func clientOn(t testing.TB, near, far net.Conn, framing config.Framing) *dialled {
	d := &dialled{t: t, far: far, r: bufio.NewReader(far)}
	d.Client = NewClient(near, &ClientConfig{Framing: framing, Dog: &d.dog, Phases: testPhases()})
	d.Release = func(_ *Client, reusable bool) { d.released = append(d.released, reusable) }
	t.Cleanup(func() { d.Close() })
	return d
}

// answers is an upstream that reads frames and sends prepared bytes for each;
// "" closes.
func (d *dialled) answers(frames ...string) (seen chan string) {
	seen = make(chan string, 100)
	go func() {
		defer close(seen)
		for _, frame := range frames {
			line, err := d.r.ReadString('\n')
			if err != nil {
				return
			}
			seen <- line
			if frame == "" {
				d.far.Close()
				return
			}
			if _, err := io.WriteString(d.far, frame); err != nil {
				return
			}
		}
	}()
	return seen
}

// exchange serves a request and checks what every Service owes.
func (d *dialled) exchange(req *stream.Request) (string, *stream.Fault) {
	d.t.Helper()
	body, before := &watched{Body: req.Body}, len(d.released)
	if _, whole := req.Body.(stream.Whole); !whole {
		req.Body = body
	}
	resp, err := d.Serve(context.Background(), req)
	if req.Body == body && !body.closed {
		d.t.Error("the body of the request is not closed")
	}
	if (resp == nil) == (err == nil) || len(d.released) != before+1 {
		d.t.Fatalf("response %v, error %v, released %v", resp, err, d.released)
	}
	if err != nil {
		return "", err.(*stream.Fault)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.Status != 200 || resp.Length != int64(len(b)) && req.Method != "HEAD" {
		d.t.Errorf("status %d, length %d of %d, %v", resp.Status, resp.Length, len(b), err)
	}
	return string(b), nil
}

func TestClient(t *testing.T) {
	d := newClient(t, lines("\n", 1000))
	seen := d.answers("ABC\n", "\n", "DEF\n", strings.Repeat("x", 1000)+"\n", "HEAD\n")
	large := strings.Repeat("y", 1000)
	for _, c := range []struct {
		req        *stream.Request
		sent, want string
	}{
		{post("abc"), "abc\n", "ABC"},
		{post(""), "\n", ""},
		{&stream.Request{Method: "PUT", Body: &slowBody{pieces: []string{"d", "e", "f"}, err: io.EOF}, Length: -1}, "def\n", "DEF"},
		{post(large), large + "\n", strings.Repeat("x", 1000)},
		{&stream.Request{Method: "HEAD", Body: stream.NoBody}, "\n", ""},
	} {
		got, f := d.exchange(c.req)
		if sent := <-seen; f != nil || got != c.want || sent != c.sent {
			t.Errorf("sent %.40q, got %.40q, %v", sent, got, f)
		}
	}
	for _, reusable := range d.released {
		if !reusable {
			t.Errorf("released: %v", d.released)
		}
	}
}

func TestClientType(t *testing.T) {
	for want, framing := range map[string]config.Framing{
		"text/plain": lines("\n", 10), "application/octet-stream": lengths(1, "big", false, 10),
	} {
		d := newClient(t, framing)
		go func() {
			io.ReadFull(d.far, make([]byte, 2))
			io.WriteString(d.far, "\x01\n")
		}()
		req := post("\x01")
		req.Header.Add("Accept", "text/html")
		resp, err := d.Serve(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := resp.Header.GetID(stream.ContentType); got != want {
			t.Errorf("%s: the type is %q", framing.Type, got)
		}
	}
}

func TestClientFaults(t *testing.T) {
	for _, c := range []struct {
		name     string
		framing  config.Framing
		req      *stream.Request
		answer   []string
		kind     stream.Kind
		retry    stream.Retry
		limit    string
		reusable bool
	}{
		{name: "a delimiter in the body", req: post("a\nb"), kind: stream.RequestMalformed, reusable: true},
		{name: "a body too large", req: post(strings.Repeat("a", 11)), kind: stream.BodyTooLarge, limit: "framing.max", reusable: true},
		{name: "a slow body too large", req: &stream.Request{Body: &slowBody{pieces: []string{"aaaaaa", "aaaaaa"}, err: io.EOF}, Length: -1},
			kind: stream.BodyTooLarge, limit: "framing.max", reusable: true},
		{name: "a length too large", req: &stream.Request{Body: &slowBody{err: io.EOF}, Length: 11}, kind: stream.BodyTooLarge, limit: "framing.max", reusable: true},
		{name: "more than the number can say", framing: lengths(1, "big", false, 1000), req: post(strings.Repeat("a", 256)),
			kind: stream.BodyTooLarge, limit: "framing.max", reusable: true},
		{name: "a body that breaks off", req: &stream.Request{Body: &slowBody{pieces: []string{"a"}, err: &stream.Fault{Kind: stream.ClientGone}}, Length: -1},
			kind: stream.ClientGone, reusable: true},
		{name: "CONNECT", req: &stream.Request{Method: "CONNECT", Body: stream.NoBody}, kind: stream.MethodUnsupported, reusable: true},
		{name: "a framing that is none", framing: config.Framing{Type: "x"}, req: post(""), kind: stream.Internal, reusable: true},
		{name: "the upstream closes", req: post("a"), answer: []string{""}, kind: stream.UpstreamClosed, retry: stream.RetryIdempotent},
		{name: "the upstream closes inside a frame", req: post("a"), answer: []string{"abc", ""}, kind: stream.ResponseTruncated, retry: stream.RetryIdempotent},
		{name: "a frame too large", req: post("a"), answer: []string{strings.Repeat("a", 11)}, kind: stream.ResponseTooLarge, limit: "framing.max"},
		{name: "a number too large", framing: lengths(4, "big", false, 10), req: post("a\n"), answer: []string{"\x7f\xff\xff\xff"}, kind: stream.ResponseTooLarge, limit: "framing.max"},
		{name: "a number too small", framing: lengths(4, "big", true, 10), req: post("a\n"), answer: []string{"\x00\x00\x00\x03"}, kind: stream.ResponseMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.framing.Type == "" {
				c.framing = lines("\n", 10)
			}
			d := newClient(t, c.framing)
			go func() {
				if len(c.answer) > 0 {
					d.r.ReadString('\n')
				}
				for _, a := range c.answer {
					if a == "" {
						d.far.Close()
					}
					io.WriteString(d.far, a)
				}
			}()
			_, f := d.exchange(c.req)
			if f == nil || f.Kind != c.kind || f.Retry != c.retry || f.Limit != c.limit {
				t.Errorf("got %v, retry %v, limit %q", f, f.Retry, f.Limit)
			}
			if d.released[0] != c.reusable {
				t.Errorf("released with %v", d.released)
			}
		})
	}
}

// What a pooled connection has to read before a request belongs to nobody, and
// one that was closed took nothing.
func TestClientStale(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(far net.Conn)
	}{
		{"closed", func(far net.Conn) { far.Close() }},
		{"poisoned", func(far net.Conn) { io.WriteString(far, "POISON\n") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newClient(t, lines("\n", 10))
			d.answers("one\n")
			if got, f := d.exchange(post("a")); got != "one" {
				t.Fatal(got, f)
			}
			c.end(d.far)
			for d.quiet() { // until it has arrived
			}
			_, f := d.exchange(post("a"))
			if f == nil || f.Kind != stream.UpstreamClosed || f.Retry != stream.RetryUnsent || d.released[1] {
				t.Errorf("got %v, released %v", f, d.released)
			}
		})
	}
	t.Run("two answers at once", func(t *testing.T) {
		d := newClient(t, lines("\n", 10))
		d.answers("one\ntwo\n")
		if got, f := d.exchange(post("a")); got != "one" || d.released[0] {
			t.Errorf("got %q, %v, released %v", got, f, d.released)
		}
	})
}

// Under TLS a poisoned connection has its bytes off the socket.
func TestClientOverTLS(t *testing.T) {
	o := httptest.NewUnstartedServer(nil)
	o.StartTLS()
	certificates := o.TLS.Certificates
	o.Close()
	a, b := pair(t)
	near, far := tls.Client(a, &tls.Config{InsecureSkipVerify: true}), tls.Server(b, &tls.Config{Certificates: certificates})
	d := clientOn(t, near, far, lines("\n", 10))
	seen := d.answers("one\n", "two\n")
	for _, want := range []string{"one", "two"} {
		if got, f := d.exchange(post("a")); got != want {
			t.Fatalf("got %q, %v", got, f)
		}
	}
	for range seen {
	}
	io.WriteString(far, "three\n")
	for d.quiet() {
	}
	if _, f := d.exchange(post("a")); f == nil || f.Retry != stream.RetryUnsent {
		t.Errorf("got %v", f)
	}
}

func TestClientDeadline(t *testing.T) {
	for _, c := range []struct {
		name   string
		phase  stream.Phase
		limit  stream.PhaseLimit
		answer string
		after  time.Duration // of the deadline; 0: none
		took   time.Duration
		kind   stream.Kind
	}{
		{name: "no answer", after: 10 * time.Second, took: 10 * time.Second, kind: stream.UpstreamTimeout},
		{name: "no answer, soon", after: time.Second, took: time.Second, kind: stream.UpstreamTimeout},
		{name: "half an answer", answer: "abc", after: 10 * time.Second, took: 10 * time.Second, kind: stream.UpstreamTimeout},
		{name: "half an answer that stalls", answer: "abc", phase: stream.PhaseUpstreamBody, limit: stream.PhaseLimit{Idle: 5 * time.Second},
			after: time.Minute, took: 5 * time.Second, kind: stream.UpstreamTooSlow},
		{name: "nobody reads", answer: "-", phase: stream.PhaseUpstreamSend, limit: stream.PhaseLimit{Idle: 5 * time.Second}, took: 5 * time.Second, kind: stream.UpstreamTooSlow},
		{name: "no answer and no deadline", phase: stream.PhaseUpstreamHead, limit: stream.PhaseLimit{Ceiling: time.Hour}, took: time.Hour, kind: stream.UpstreamTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				var dog watchdog.Dog
				cfg := &ClientConfig{Framing: lines("\n", 100), Dog: &dog, Phases: testPhases()}
				if c.limit != (stream.PhaseLimit{}) {
					cfg.Phases[c.phase] = c.limit
				}
				client := NewClient(near, cfg)
				defer client.Close()
				go func() {
					if c.answer != "-" {
						bufio.NewReader(far).ReadString('\n')
						if c.answer != "" {
							io.WriteString(far, c.answer)
						}
					}
				}()
				start := time.Now()
				req := post("a")
				if c.after > 0 {
					req.Deadline = start.Add(c.after)
				}
				_, err := client.Serve(context.Background(), req)
				took := time.Since(start)
				var f *stream.Fault
				if !errors.As(err, &f) || f.Kind != c.kind {
					t.Errorf("got %v", err)
				}
				if sent := c.answer != "-"; sent != (f.Retry == stream.RetryIdempotent) {
					t.Errorf("retry %v", f.Retry)
				}
				if took < c.took || took > c.took+3*time.Second || c.after == time.Second && took != c.took {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// minutely is a body of which something comes every minute.
type minutely struct{ stream.Body }

func (b minutely) Read(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return b.Body.Read(p)
}

// The time that a slow client takes for its body is not the upstream's.
func TestClientSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		var dog watchdog.Dog
		client := NewClient(near, &ClientConfig{Framing: lines("\n", 100), Dog: &dog, Phases: testPhases()})
		defer client.Close()
		go func() {
			bufio.NewReader(far).ReadString('\n')
			io.WriteString(far, "A\n")
		}()
		req := &stream.Request{Method: "POST", Body: minutely{&slowBody{pieces: []string{"a"}, err: io.EOF}}, Length: -1, Deadline: time.Now().Add(10 * time.Second)}
		if _, err := client.Serve(context.Background(), req); err != nil {
			t.Error(err)
		}
		past := post("a")
		past.Deadline = time.Now().Add(-time.Second)
		_, err := client.Serve(context.Background(), past)
		if f := stream.AsFault(err); f.Kind != stream.UpstreamTimeout || f.Retry != stream.RetryUnsent {
			t.Errorf("got %v", err)
		}
	})
}

func TestClientCanceled(t *testing.T) {
	d := newClient(t, lines("\n", 10))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		d.r.ReadString('\n')
		cancel()
	}()
	_, err := d.Serve(ctx, post("a"))
	if f := stream.AsFault(err); f.Kind != stream.ClientGone || d.released[0] {
		t.Errorf("got %v, released %v", err, d.released)
	}
	_, err = d.Serve(ctx, post("a"))
	if f := stream.AsFault(err); f.Kind != stream.ClientGone || !d.released[1] {
		t.Errorf("got %v, released %v", err, d.released)
	}
}

// TestAllocsClient: the content, its body, the response with its header.
func TestAllocsClient(t *testing.T) {
	d := newClient(t, lines("\n", 1000))
	d.Release = nil
	go func() {
		for {
			line, err := d.r.ReadSlice('\n')
			if err != nil {
				return
			}
			if _, err := d.far.Write(line); err != nil {
				return
			}
		}
	}()
	req := post("")
	content := []byte(strings.Repeat("a", 100))
	one := func() {
		req.Body, req.Length = stream.BytesBody(content), 100
		resp, err := d.Serve(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if n := testing.AllocsPerRun(500, one); n > 9 {
		t.Errorf("%v allocations per exchange", n)
	}
}

// BenchmarkExchange is a frame through both halves.
func BenchmarkExchange(b *testing.B) {
	d := newClient(b, lines("\n", 1000))
	d.Release = nil
	go func() {
		for {
			line, err := d.r.ReadSlice('\n')
			if err != nil {
				return
			}
			if _, err := d.far.Write(line); err != nil {
				return
			}
		}
	}()
	e := newEdge(b, d.Client, func(cfg *ServerConfig) { cfg.Done = nil })
	d.far.SetDeadline(time.Time{})
	e.nc.SetDeadline(time.Time{})
	line := strings.Repeat("a", 99) + "\n"
	b.ReportAllocs()
	for b.Loop() {
		e.send(line)
		e.want(line)
	}
}
