package http2

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// FuzzServer sends frames made of anything. Nothing panics, and when the client
// has gone every exchange is over and every goroutine with it.
func FuzzServer(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(postHead); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: postHead[i], Value: postHead[i+1]})
	}
	frame := func(t frameType, flags uint8, id uint32, payload []byte) []byte {
		return append(appendFrameHeader(nil, len(payload), t, flags, id), payload...)
	}
	open := frame(frameHeaders, flagEndHeaders, 1, block.Bytes())
	f.Add(open)
	f.Add(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, block.Bytes()))
	f.Add(append(bytes.Clone(open), frame(frameData, flagEndStream, 1, []byte("abc"))...))
	f.Add(append(bytes.Clone(open), frame(frameReset, 0, 1, []byte{0, 0, 0, 8})...))
	f.Add(append(bytes.Clone(open), frame(frameWindowUpdate, 0, 1, []byte{0, 0, 0, 0})...))
	f.Add(append(bytes.Clone(open), frame(frameHeaders, flagEndHeaders|flagEndStream, 1, []byte{0, 1, 'a', 1, 'b'})...))
	f.Add(append(frame(frameHeaders, 0, 1, block.Bytes()[:3]), frame(frameContinuation, flagEndHeaders, 1, block.Bytes()[3:])...))
	f.Add(frame(frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0}))
	f.Add(frame(framePriorityUpdate, 0, 0, []byte("\x00\x00\x00\x01u=1")))
	f.Fuzz(func(t *testing.T, input []byte) {
		begin := time.Now()
		var dog watchdog.Dog
		var goes sync.WaitGroup
		s := NewServer(ServerConfig{
			Limits: serverLimits, MaxStreams: 10, MaxAbuse: 100, Service: echo, Refuse: refuseText,
			Dog: &dog, Phases: serverPhases, Go: func(f func()) { goes.Go(f) },
		})
		a, b := net.Pipe()
		a.SetDeadline(time.Now().Add(5 * time.Second))
		goes.Go(func() { s.Serve(context.Background(), b, &stream.Conn{ID: 1, Listener: "fuzz"}) })
		goes.Go(func() { _, _ = io.Copy(io.Discard, a) })
		_, _ = a.Write([]byte(preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		if len(input) > 0 {
			_, _ = a.Write(input)
		}
		a.Close()
		goes.Wait()
		panics, open, streams := s.Stats.Panics.Load(), s.Stats.Open.Load(), s.Stats.Streams.Load()
		if panics != 0 || open != 0 || streams != 0 {
			t.Errorf("%d panics, %d connections, %d streams", panics, open, streams)
		}
		if took := time.Since(begin); took > 900*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// FuzzDecode holds the decoder against that of golang.org/x/net, block after
// block of one connection.
func FuzzDecode(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{{Name: ":path", Value: "/a"}, {Name: "x", Value: "y"}, {Name: "cookie", Value: "s", Sensitive: true}} {
		_ = enc.WriteField(field)
	}
	f.Add(bytes.Clone(block.Bytes()), []byte{0x80 | 62, 0x80 | 63})
	f.Add([]byte{0x20, 0x82}, []byte{0x3f, 0xe1, 0x1f, 0x40, 1, 'a', 1, 'b'})
	f.Add([]byte{0x00, 0x81, 0xff, 0x00}, []byte{0x7e})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var d decoder
		d.init()
		var want []hpack.HeaderField
		ref := hpack.NewDecoder(tableSize, func(hf hpack.HeaderField) { want = append(want, hf) })
		limits := Limits{MaxHeaderCount: 1 << 20, MaxHeaderBytes: 1 << 30}
		for _, block := range [][]byte{one, two} {
			want = want[:0]
			_, err := ref.Write(block)
			if err == nil {
				err = ref.Close()
			}
			m := meter{side: &requestSide, limits: &limits}
			got, over, bad := d.decode(block, &m)
			if bad != nil && err == nil && !sizeUpdateLate(block) {
				t.Fatalf("%x is refused, which %v allows", block, want)
			}
			if bad != nil || err != nil {
				return
			}
			if over != nil || len(got) != len(want) {
				t.Fatalf("%x: %d fields, %v, want %d", block, len(got), over, len(want))
			}
			for i := range got {
				if got[i].name != want[i].Name || got[i].value != want[i].Value {
					t.Fatalf("%x: field %d is %q: %q, want %v", block, i, got[i].name, got[i].value, want[i])
				}
			}
		}
	})
}

// sizeUpdateLate: the other decoder lets some updates of the size stand behind
// the first field, and integers be longer than any length.
func sizeUpdateLate(block []byte) bool {
	for i, b := range block {
		if b&0xe0 == 0x20 && i > 0 || b&0x7f == 0x7f || b&0x80 != 0 {
			return true
		}
	}
	return false
}
