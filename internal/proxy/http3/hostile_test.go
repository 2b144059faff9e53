package http3

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/weirproxy/weir/stream"
)

func frame(typ uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, typ), uint64(len(payload))), payload...)
}

// block is a field section of pairs.
func block(pairs ...string) []byte {
	out := appendPrefix(nil)
	for i := 0; i < len(pairs); i += 2 {
		name, value := pairs[i], pairs[i+1]
		out = appendInt(out, 0x20, 3, uint64(len(name)))
		out = append(out, name...)
		out = append(appendInt(out, 0, 7, uint64(len(value))), value...)
	}
	return out
}

func get(extra ...string) []byte {
	return block(append([]string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/"}, extra...)...)
}

// exchangeRaw sends bytes on a stream and returns the status, 0 for none.
func exchangeRaw(t *testing.T, conn *quic.Conn, out []byte) (status int, err error) {
	t.Helper()
	str, err := conn.OpenStream()
	if err != nil {
		return 0, err
	}
	_, _ = str.Write(out)
	str.Close()
	_ = str.SetReadDeadline(time.Now().Add(10 * time.Second))
	var in incoming
	l := limits()
	sc := &score{limit: scoreLimit, at: time.Now()}
	in.init(str, sc, &l, true)
	s := takeSection()
	defer s.release()
	if _, err := in.head(s); err != nil {
		return 0, err
	}
	var fx facts
	var resp stream.Response
	if f := readResponse(s, &fx, &resp); f != nil {
		return 0, f
	}
	_, _ = io.Copy(io.Discard, str)
	return resp.Status, nil
}

// TestRequestHeads holds every rule of a head (RFC 9114 sections 4.2 and 4.3),
// and sizes at the limit and one above it.
func TestRequestHeads(t *testing.T) {
	ts := serve(t, func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		return text(200, ""), nil
	}, func(cfg *ServerConfig) {
		cfg.Limits = Limits{MaxHeaderCount: 10, MaxHeaderBytes: 1000, MaxURIBytes: 100, MaxBodyBytes: 10}
	})
	// What get() counts: the four pseudo-headers but the path.
	const used = 7 + 3 + 32 + 7 + 5 + 32 + 10 + 9 + 32
	conn := raw(t, ts)
	for _, test := range []struct {
		name string
		head []byte
		want int
	}{
		{"plain", get(), 200},
		{"upper case", get("X-A", "b"), 400},
		{"connection", get("connection", "close"), 400},
		{"transfer-encoding", get("transfer-encoding", "chunked"), 400},
		{"te", get("te", "gzip"), 400},
		{"te trailers", get("te", "trailers"), 200},
		{"host differs", get("host", "other"), 400},
		{"host same", get("host", "LOCALHOST"), 200},
		{"control byte", get("x", "a\nb"), 400},
		{"white space", get("x", " a"), 400},
		{"pseudo twice", get(":path", "/b"), 400},
		{"pseudo behind", append(get("x", "y"), block(":path", "/b")[2:]...), 400},
		{"pseudo unknown", get(":weir", "1"), 400},
		{"status in a request", get(":status", "200"), 400},
		{"no method", block(":scheme", "https", ":authority", "localhost", ":path", "/"), 400},
		{"method in lower case", block(":method", "get", ":scheme", "https", ":authority", "localhost", ":path", "/"), 400},
		{"scheme", block(":method", "GET", ":scheme", "http", ":authority", "localhost", ":path", "/"), 400},
		{"no slash", block(":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "svc/M"), 400},
		{"no host", block(":method", "GET", ":scheme", "https", ":path", "/"), 400},
		{"connect with path", block(":method", "CONNECT", ":authority", "a:1", ":path", "/"), 400},
		{"length twice", get("content-length", "0", "content-length", "0"), 400},
		{"length without content", get("content-length", "1"), 400},
		{"uri at the limit", block(":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/"+strings.Repeat("a", 99)), 200},
		{"uri above it", block(":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/"+strings.Repeat("a", 100)), 400},
		{"bytes at the limit", get("x", strings.Repeat("a", 1000-used-33)), 200},
		{"bytes above it", get("x", strings.Repeat("a", 1000-used-32)), 400},
		{"count at the limit", get("a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g", "", "h", "", "i", ""), 200},
		{"count above it", get("a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g", "", "h", "", "i", "", "j", ""), 400},
		{"crumbs above it", get("cookie", "a", "cookie", "b", "cookie", "c", "cookie", "d", "cookie", "e", "cookie", "f", "cookie", "g", "cookie", "h", "cookie", "i", "cookie", "j"), 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := exchangeRaw(t, conn, frame(frameHeaders, test.head)); got != test.want {
				t.Errorf("status %d (%v), want %d", got, err, test.want)
			}
		})
	}
}

// TestTrailerSize: trailers count with the head, at the limit and one above it
// (CVE-2026-40898).
func TestTrailerSize(t *testing.T) {
	ts := serve(t, echo, func(cfg *ServerConfig) {
		cfg.Limits = Limits{MaxHeaderCount: 10, MaxHeaderBytes: 1000, MaxURIBytes: 100, MaxBodyBytes: 10}
	})
	const used = 7 + 4 + 32 + 7 + 5 + 32 + 10 + 9 + 32
	post := block(":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", "/")
	conn := raw(t, ts)
	for extra, want := range map[int]int{0: 200, 1: 400} {
		out := append(frame(frameHeaders, post), frame(frameData, []byte("x"))...)
		out = append(out, frame(frameHeaders, block("x", strings.Repeat("a", 1000-used-33+extra)))...)
		if got, err := exchangeRaw(t, conn, out); got != want {
			t.Errorf("limit+%d: status %d (%v), want %d", extra, got, err, want)
		}
	}
}

// TestConnectionErrors: each broken rule of the connection ends it with its code.
func TestConnectionErrors(t *testing.T) {
	ts := serve(t, echo, nil)
	settings := frame(frameSettings, nil)
	control := func(frames ...[]byte) []byte {
		out := []byte{streamControl}
		for _, f := range frames {
			out = append(out, f...)
		}
		return out
	}
	bomb := appendPrefix(nil)
	bomb = append(bomb, 0x80) // dynamic index
	for _, test := range []struct {
		name string
		uni  []byte
		bidi []byte
		want quic.ApplicationErrorCode
	}{
		{"no settings", control(frame(frameGoAway, []byte{0})), nil, codeMissingSettings},
		{"settings twice", control(settings, settings), nil, codeFrameUnexpected},
		{"setting twice", control(frame(frameSettings, []byte{6, 1, 6, 1})), nil, codeSettingsError},
		{"setting of http/2", control(frame(frameSettings, []byte{2, 1})), nil, codeSettingsError},
		{"data on control", control(settings, frame(frameData, nil)), nil, codeFrameUnexpected},
		{"goaway grows", control(settings, frame(frameGoAway, []byte{0}), frame(frameGoAway, []byte{4})), nil, codeIDError},
		{"cancel push", control(settings, frame(frameCancelPush, []byte{0})), nil, codeIDError},
		{"push stream", []byte{streamPush, 0}, nil, codeStreamCreation},
		{"table insertion", []byte{streamEncoder, 0xc0}, nil, codeEncoderStream},
		{"table acknowledged", []byte{streamDecoder, 0x80}, nil, codeDecoderStream},
		{"data first", nil, frame(frameData, []byte("x")), codeFrameUnexpected},
		{"settings on a request", nil, settings, codeFrameUnexpected},
		{"frame of http/2", nil, frame(0x8, nil), codeFrameUnexpected},
		{"push promise", nil, frame(framePushPromise, []byte{0}), codeFrameUnexpected},
		{"cut frame", nil, frame(frameHeaders, get())[:9], codeFrameError},
		{"dynamic table", nil, frame(frameHeaders, bomb), codeDecompression},
		{"huge unknown frame", nil, quicvarint.Append([]byte{0x21}, 1<<30), codeExcessiveLoad},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := raw(t, ts)
			if test.uni != nil {
				str, err := conn.OpenUniStream()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = str.Write(test.uni)
			}
			if test.bidi != nil {
				str, err := conn.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = str.Write(test.bidi)
				str.Close()
			}
			ended(t, conn, test.want)
		})
	}
}

func ended(t *testing.T, conn *quic.Conn, want quic.ApplicationErrorCode) {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the connection lives on")
	}
	var e *quic.ApplicationError
	if err := context.Cause(conn.Context()); !errors.As(err, &e) || e.ErrorCode != want {
		t.Errorf("ended with %v, want %#x", err, uint64(want))
	}
}

// TestControlStreamTwice: a second control stream, and its end.
func TestControlStreams(t *testing.T) {
	ts := serve(t, echo, nil)
	open := func(conn *quic.Conn) *quic.SendStream {
		str, err := conn.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(append([]byte{streamControl}, frame(frameSettings, nil)...))
		return str
	}
	conn := raw(t, ts)
	open(conn)
	open(conn)
	ended(t, conn, codeStreamCreation)
	conn = raw(t, ts)
	open(conn).Close()
	ended(t, conn, codeClosedCritical)
}

// TestFloods: what costs the client nothing ends its connection, and the
// handlers are never more than the streams that a client may have.
func TestFloods(t *testing.T) {
	for _, test := range []struct {
		name string
		send func(conn *quic.Conn) error
	}{
		{"rapid reset", func(conn *quic.Conn) error {
			str, err := conn.OpenStreamSync(conn.Context())
			if err != nil {
				return err
			}
			_, _ = str.Write(frame(frameHeaders, get()))
			str.CancelWrite(codeRequestCancelled)
			str.CancelRead(codeRequestCancelled)
			return nil
		}},
		{"bad requests", func(conn *quic.Conn) error {
			str, err := conn.OpenStreamSync(conn.Context())
			if err != nil {
				return err
			}
			_, _ = str.Write(frame(frameHeaders, get("X", "")))
			str.Close()
			str.CancelRead(codeNoError)
			return nil
		}},
		{"unknown streams", func(conn *quic.Conn) error {
			str, err := conn.OpenUniStreamSync(conn.Context())
			if err != nil {
				return err
			}
			_, _ = str.Write([]byte{0x21})
			str.Close()
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ts := serve(t, func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				<-ctx.Done()
				return nil, &stream.Fault{Kind: stream.ClientGone}
			}, func(cfg *ServerConfig) { cfg.MaxStreams = 10 })
			conn := raw(t, ts)
			for range 20000 {
				if test.send(conn) != nil {
					break
				}
			}
			ended(t, conn, codeExcessiveLoad)
			if ts.Stats.Abusive.Load() != 1 {
				t.Error("not counted")
			}
		})
	}
	for name, piece := range map[string][]byte{
		"empty data": frame(frameData, nil), "unknown frames": frame(0x21, nil),
	} {
		t.Run(name, func(t *testing.T) {
			ts := serve(t, echo, nil)
			conn := raw(t, ts)
			str, err := conn.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			post := block(":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", "/")
			_, err = str.Write(frame(frameHeaders, post))
			for range 20000 {
				if err != nil {
					break
				}
				_, err = str.Write(piece)
			}
			ended(t, conn, codeExcessiveLoad)
		})
	}
}

// TestDrain: the request under way ends in order, the next is rejected, and the
// connection goes.
func TestDrain(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	ts := serve(t, func(context.Context, *stream.Request) (*stream.Response, error) {
		close(entered)
		<-finish
		return text(200, "done"), nil
	}, nil)
	c := dial(t, ts.addr, ts.client, nil)
	answer := make(chan error, 1)
	if !c.Reserve() {
		t.Fatal("no place")
	}
	go func() {
		resp, err := c.Serve(context.Background(), request("GET", "/"))
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(resp.Body); string(body) != "done" {
				err = errors.New("body " + string(body))
			}
			resp.Body.Close()
		}
		answer <- err
	}()
	<-entered
	ts.Drain(0)
	close(finish)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ts.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if c.Reserve() {
		t.Error("a connection that was told to go takes a request")
	}
}
