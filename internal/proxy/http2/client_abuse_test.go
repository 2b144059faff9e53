package http2

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// A hostile upstream: every flood ends the connection, soon, and costs little
// (threats.md section 2).
func TestClientFloods(t *testing.T) {
	ping := rawFrame(framePing, 0, 0, make([]byte, 8))
	for _, tc := range []struct {
		name   string
		frames []byte // sent again and again
		first  []byte // sent once in front
		code   http2.ErrCode
	}{
		{"PING (CVE-2019-9512)", ping, nil, http2.ErrCodeEnhanceYourCalm},
		{"PING acknowledgements", rawFrame(framePing, flagAck, 0, make([]byte, 8)), nil, http2.ErrCodeEnhanceYourCalm},
		{"SETTINGS (CVE-2019-9515)", rawFrame(frameSettings, 0, 0, nil), nil, http2.ErrCodeEnhanceYourCalm},
		{"SETTINGS acknowledgements", rawFrame(frameSettings, flagAck, 0, nil), nil, http2.ErrCodeEnhanceYourCalm},
		{"initial window up and down", append(
			rawFrame(frameSettings, 0, 0, append([]byte{0, 4}, u32(1)...)),
			rawFrame(frameSettings, 0, 0, append([]byte{0, 4}, u32(1<<20)...))...), nil, http2.ErrCodeEnhanceYourCalm},
		{"PRIORITY (CVE-2019-9513)", rawFrame(framePriority, 0, 1, make([]byte, 5)), nil, http2.ErrCodeEnhanceYourCalm},
		{"empty DATA (CVE-2019-9518)", rawFrame(frameData, 0, 1, nil), rawFrame(frameHeaders, flagEndHeaders, 1, []byte{0x88}), http2.ErrCodeEnhanceYourCalm},
		{"window dribble", rawFrame(frameWindowUpdate, 0, 1, u32(1)), nil, http2.ErrCodeEnhanceYourCalm},
		{"window dribble of the connection", rawFrame(frameWindowUpdate, 0, 0, u32(1)), nil, http2.ErrCodeEnhanceYourCalm},
		{"unknown frames", rawFrame(0x77, 0, 1, nil), nil, http2.ErrCodeEnhanceYourCalm},
		{"GOAWAY", rawFrame(frameGoAway, 0, 0, append(u32(5), u32(0)...)), nil, http2.ErrCodeEnhanceYourCalm},
		{"empty CONTINUATION (CVE-2024-27316)", rawFrame(frameContinuation, 0, 1, nil), rawFrame(frameHeaders, 0, 1, nil), http2.ErrCodeEnhanceYourCalm},
		{"CONTINUATION (CVE-2023-45288)", rawFrame(frameContinuation, 0, 1, make([]byte, 16<<10)), rawFrame(frameHeaders, 0, 1, nil), http2.ErrCodeEnhanceYourCalm},
		{"SETTINGS_MAX_FRAME_SIZE of 0 (CVE-2026-33814)", rawFrame(frameSettings, 0, 0, append([]byte{0, 5}, u32(0)...)), nil, http2.ErrCodeProtocol},
		{"SETTINGS_ENABLE_PUSH of 2", rawFrame(frameSettings, 0, 0, append([]byte{0, 2}, u32(2)...)), nil, http2.ErrCodeProtocol},
		{"window of 2^31", rawFrame(frameSettings, 0, 0, append([]byte{0, 4}, u32(1<<31)...)), nil, http2.ErrCodeFlowControl},
		{"window of the connection overflows", rawFrame(frameWindowUpdate, 0, 0, u32(maxWindow)), nil, http2.ErrCodeFlowControl},
		{"window of the connection by 0", rawFrame(frameWindowUpdate, 0, 0, u32(0)), nil, http2.ErrCodeProtocol},
		{"PUSH_PROMISE", rawFrame(framePushPromise, flagEndHeaders, 1, append(u32(2), 0x88)), nil, http2.ErrCodeProtocol},
		{"response on an idle stream", rawFrame(frameHeaders, flagEndHeaders, 9, []byte{0x88}), nil, http2.ErrCodeProtocol},
		{"response on an even stream", rawFrame(frameHeaders, flagEndHeaders, 2, []byte{0x88}), nil, http2.ErrCodeProtocol},
		{"DATA on an idle stream", rawFrame(frameData, 0, 9, []byte("x")), nil, http2.ErrCodeProtocol},
		{"reset of an idle stream", rawFrame(frameReset, 0, 9, u32(0)), nil, http2.ErrCodeProtocol},
		{"GOAWAY that goes up", append(rawFrame(frameGoAway, 0, 0, append(u32(1), u32(0)...)),
			rawFrame(frameGoAway, 0, 0, append(u32(3), u32(0)...))...), nil, http2.ErrCodeProtocol},
		{"PRIORITY_UPDATE from a server", rawFrame(framePriorityUpdate, 0, 0, u32(1)), nil, http2.ErrCodeProtocol},
		{"a frame too large", rawFrame(frameData, 0, 1, make([]byte, 17<<10)), nil, http2.ErrCodeFrameSize},
		{"a block that cannot be decoded", rawFrame(frameHeaders, flagEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), nil, http2.ErrCodeCompression},
		{"a frame inside a header block", append(rawFrame(frameHeaders, 0, 1, nil), ping...), nil, http2.ErrCodeProtocol},
		{"HTTP", []byte("HTTP/1.1 200 OK\r\n\r\n"), nil, http2.ErrCodeFrameSize},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newClientSetup(t)
			c, up := newFakeUpstream(t, u)
			got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
			up.expect(http2.FrameHeaders)
			up.raw(tc.first)
			batch := tc.frames
			for len(batch) < 4<<10 {
				batch = append(batch, tc.frames...)
			}
			sent := 0
			for up.nc.SetWriteDeadline(time.Now().Add(10 * time.Second)); sent < 64<<20; sent += len(batch) {
				if up.raw(batch) != nil {
					break
				}
			}
			a := <-got
			if a.err == nil {
				_, a.err = io.ReadAll(a.resp.Body)
				a.resp.Body.Close()
			}
			if f := stream.AsFault(a.err); a.err == nil || f.Retry == stream.RetryUnsent {
				t.Errorf("%v, retry %d", a.err, f.Retry)
			}
			<-c.Done()
			if most := u.most.Load(); most > 4 {
				t.Errorf("%d goroutines", most)
			}
			if u.cfg.Stats.Violations.Load() != 1 || u.cfg.Stats.Open.Load() != 0 {
				t.Errorf("%d violations, %d open", u.cfg.Stats.Violations.Load(), u.cfg.Stats.Open.Load())
			}
			for f := range up.seen { // the last words may have been cut off with the connection
				if f.Type == http2.FrameGoAway && (f.code != tc.code || f.data == "") {
					t.Errorf("GOAWAY %v %q, want %v", f.code, f.data, tc.code)
				}
			}
			if f := stream.AsFault(a.err); !strings.Contains(fmt.Sprint(f.Cause), errCode(tc.code).String()) {
				t.Errorf("the fault says %v, want %v", f.Cause, errCode(tc.code))
			}
		})
	}
}

// Headers that decode to very much are counted before anybody holds them.
func TestClientHPACKBomb(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	block := up.block(":status", "200", "a", strings.Repeat("x", 3000))
	for range 16 << 10 { // each byte is 3 kB
		block = append(block, 0xbe)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	up.write(func(fr *http2.Framer) error {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true})
		return fr.WriteContinuation(1, true, block[16<<10:])
	})
	a := <-got
	runtime.ReadMemStats(&after)
	expectFault(t, a.err, stream.ResponseTooLarge, stream.RetryNever)
	if held := after.TotalAlloc - before.TotalAlloc; held > 1<<20 {
		t.Errorf("%d bytes were allocated for it", held)
	}
}

// Resets by the upstream end the use of a connection, not what is under way on
// it (threats.md, CVE-2025-8671 from the other side).
func TestClientServerResets(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.MaxAbuse = 100
	c, up := newFakeUpstream(t, u)
	long := ask(t, c, t.Context(), clientRequest("GET", "/long", nil, 0))
	up.expect(http2.FrameHeaders)
	n := 0
	for ; c.Reserve(); n++ {
		got := make(chan error, 1)
		go func() {
			_, err := c.Serve(t.Context(), clientRequest("GET", "/", nil, 0))
			got <- err
		}()
		up.reset(up.expect(http2.FrameHeaders).StreamID, http2.ErrCodeInternal)
		expectFault(t, <-got, stream.UpstreamReset, stream.RetryIdempotent)
	}
	if n < 20 || n > 100 {
		t.Errorf("%d resets, want some more than 20", n)
	}
	up.headers(1, true, ":status", "200")
	a := <-long
	if a.err != nil {
		t.Fatal(a.err)
	}
	a.resp.Body.Close()
	<-c.Done()
}

// DATA on streams that we reset: what was on its way, and no more.
func TestClientLateData(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.StreamWindow, u.cfg.ConnectionWindow = 64<<10, 64<<10
	c, up := newFakeUpstream(t, u)
	for id := uint32(1); id < 40; id += 2 {
		got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
		up.expect(http2.FrameHeaders)
		up.headers(id, false, ":status", "200")
		a := <-got
		a.resp.Body.Close()
		up.expect(http2.FrameRSTStream)
		up.data(id, false, strings.Repeat("x", 16000))
		up.data(id, true, strings.Repeat("x", 16000)) // the window of the connection comes back
	}
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	go func() {
		piece := strings.Repeat("x", 10)
		for up.write(func(fr *http2.Framer) error { return fr.WriteData(1, false, []byte(piece)) }) == nil {
		}
	}()
	a := <-got
	if a.err == nil || u.cfg.Stats.Violations.Load() != 1 {
		t.Errorf("%v; an upstream that sends on a closed stream for ever is not noticed", a.err)
	}
}

// A client that closes early again and again has no effect but resets.
func TestClientCancels(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	go func() {
		for f := range up.seen {
			if f.Type == http2.FrameHeaders {
				up.headers(f.StreamID, false, ":status", "200")
				up.data(f.StreamID, false, "x")
				up.headers(f.StreamID, true, "a", "b")
			}
		}
	}()
	for range 1000 {
		resp, err := do(t, c, clientRequest("GET", "/", nil, 0))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if u.most.Load() > 4 || c.places.Load() != 0 || objectsOf(c) > 2 {
		t.Errorf("%d goroutines, %d places, %d objects", u.most.Load(), c.places.Load(), objectsOf(c))
	}
}

// An upstream that makes us answer and does not read.
func TestClientNeverRead(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.MaxAbuse = 1 << 30
	c, up := newSilentUpstreamDeaf(t, u)
	batch := []byte{}
	for range 1000 {
		batch = append(batch, rawFrame(framePing, 0, 0, make([]byte, 8))...)
	}
	up.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := up.Write(rawFrame(frameSettings, 0, 0, nil)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := up.Write(batch); err != nil {
			break
		}
	}
	<-c.Done()
	if u.cfg.Stats.Abusive.Load() != 1 {
		t.Error("the connection ended for another reason")
	}
}

func TestClientHealth(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.PingInterval, u.cfg.PingTimeout = 60*time.Millisecond, 60*time.Millisecond
	c, up := newFakeUpstream(t, u)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	for range 2 { // as long as it answers
		p := up.expect(http2.FramePing)
		var data [8]byte
		copy(data[:], p.data)
		up.write(func(fr *http2.Framer) error { return fr.WritePing(true, data) })
	}
	up.expect(http2.FramePing)
	a := <-got
	expectFault(t, a.err, stream.UpstreamClosed, stream.RetryIdempotent)
	if u.cfg.Stats.PingDead.Load() != 1 || u.cfg.Stats.Pings.Load() != 3 {
		t.Errorf("%d dead, %d pings", u.cfg.Stats.PingDead.Load(), u.cfg.Stats.Pings.Load())
	}
	<-c.Done()
}

// FuzzClient lets a hostile upstream say anything.
func FuzzClient(f *testing.F) {
	head := rawFrame(frameHeaders, flagEndHeaders, 1, []byte{0x88})
	f.Add(append(head, rawFrame(frameData, flagEndStream, 1, []byte("hi"))...))
	f.Add(append(head, rawFrame(frameReset, 0, 1, u32(7))...))
	f.Add(rawFrame(frameGoAway, 0, 0, append(u32(0), u32(0)...)))
	f.Add(rawFrame(frameSettings, 0, 0, append([]byte{0, 4}, u32(0)...)))
	f.Add(append(rawFrame(frameHeaders, 0, 1, []byte{0x88}), rawFrame(frameContinuation, flagEndHeaders, 1, nil)...))
	f.Add(rawFrame(frameData, flagPadded, 1, []byte{200, 1}))
	f.Fuzz(func(t *testing.T, script []byte) {
		u := newClientSetup(t)
		c, up := newSilentUpstreamDeaf(t, u)
		first, second := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0)),
			ask(t, c, t.Context(), clientRequest("POST", "/", stream.BytesBody([]byte("body")), 4))
		up.Write(append(rawFrame(frameSettings, 0, 0, nil), script...))
		up.Close()
		for _, got := range []<-chan answered{first, second} {
			if a := <-got; a.err == nil {
				io.Copy(io.Discard, a.resp.Body)
				a.resp.Body.Trailer()
				a.resp.Body.Close()
			}
		}
		<-c.Done()
		if n := c.places.Load() & (retired - 1); n != 0 || streamsOf(c) != 0 || u.cfg.Stats.Panics.Load() != 0 {
			t.Fatalf("%d places, %d streams, %d panics", n, streamsOf(c), u.cfg.Stats.Panics.Load())
		}
		if err := c.out.over; err == nil {
			t.Fatal("the sending side is not over")
		}
	})
}
