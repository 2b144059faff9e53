package http3

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/weirproxy/weir/stream"
)

// FuzzIncoming feeds both halves the bytes of a stream: whatever they are, it
// ends, within the limits, and with an error of the kinds that are promised.
func FuzzIncoming(f *testing.F) {
	f.Add(frame(frameHeaders, get("x", "y")), false)
	f.Add(append(frame(frameHeaders, block(":status", "200")), frame(frameData, []byte("abc"))...), true)
	f.Add(append(frame(0x21, []byte("grease")), frame(frameHeaders, get("cookie", "a", "cookie", "b"))...), false)
	f.Fuzz(func(t *testing.T, data []byte, client bool) {
		l := Limits{MaxHeaderCount: 20, MaxHeaderBytes: 2000, MaxURIBytes: 200, MaxBodyBytes: 1000}
		var in incoming
		in.init(bytes.NewReader(data), &score{limit: scoreLimit, at: time.Now()}, &l, client)
		s := takeSection()
		defer s.release()
		var x facts
		_, err := in.head(s)
		if err == nil {
			if client {
				var resp stream.Response
				if f := readResponse(s, &x, &resp); f != nil {
					return
				}
			} else {
				var req stream.Request
				if f := readRequest(s, &x, &req, &l); f != nil {
					return
				}
			}
			in.begin(x.length, false)
			var n int64
			n, err = io.Copy(io.Discard, readFunc(in.read))
			if n > l.MaxBodyBytes {
				t.Fatalf("%d bytes of content", n)
			}
		}
		var ce *connError
		var fault *stream.Fault
		if err != nil && err != io.EOF && !errors.As(err, &ce) && !errors.As(err, &fault) {
			t.Fatalf("error %T: %v", err, err)
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzSection compares with the library: what it reads, we read alike.
func FuzzSection(f *testing.F) {
	var b bytes.Buffer
	enc := qpack.NewEncoder(&b)
	for _, h := range []qpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/a b~\x7f\xff"}, {Name: "x-y", Value: "Huffman, 123"}} {
		enc.WriteField(h)
	}
	f.Add(b.Bytes())
	f.Add(get("cookie", "a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []qpack.HeaderField
		var wantErr error
		for next := qpack.NewDecoder().Decode(data); ; {
			h, err := next()
			if err != nil {
				if err != io.EOF {
					wantErr = err
				}
				break
			}
			want = append(want, h)
		}
		l := Limits{MaxHeaderCount: 1 << 20, MaxHeaderBytes: 1 << 30, MaxURIBytes: 1 << 20}
		s := new(section)
		s.block = data
		err := s.decode(&meter{side: &requestSide, limits: &l})
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, the library's %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if len(s.fields) != len(want) {
			t.Fatalf("%d fields, the library's %d", len(s.fields), len(want))
		}
		for i := range want {
			if name, value := s.fields[i].strings(string(s.text)); name != want[i].Name || value != want[i].Value {
				t.Fatalf("field %d: %q %q, the library's %q", i, name, value, want[i])
			}
		}
	})
}
