package http2

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weirproxy/weir/stream"
)

// Every flood of threats.md section 2 ends the connection within its budget,
// with the reason in GOAWAY.
func TestFloods(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		frames       int // far over the budget of 1000 points, far under what a flood sends
		send         func(c *rawClient, i int)
	}{
		{"rapid reset (CVE-2023-44487)", "client resets", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), true, getHead...)
			c.check(c.fr.WriteRSTStream(uint32(2*i+1), xhttp2.ErrCodeCancel))
		}},
		{"MadeYouReset by window of nothing (CVE-2025-8671)", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), false, postHead...)
			c.check(c.fr.WriteWindowUpdate(uint32(2*i+1), 0))
		}},
		{"MadeYouReset by a window too large", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), false, postHead...)
			c.check(c.fr.WriteWindowUpdate(uint32(2*i+1), 1<<31-1))
		}},
		{"MadeYouReset by DATA behind the end", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), true, postHead...)
			c.check(c.fr.WriteData(uint32(2*i+1), false, []byte("x")))
		}},
		{"MadeYouReset by PRIORITY of a wrong size", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), false, postHead...)
			c.check(c.fr.WriteRawFrame(xhttp2.FramePriority, 0, uint32(2*i+1), make([]byte, 4)))
		}},
		{"MadeYouReset by a length that lies", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), false, head(postHead, "content-length", "1")...)
			c.check(c.fr.WriteData(uint32(2*i+1), false, []byte("xx")))
		}},
		{"malformed heads", "have to be reset", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), true, head(getHead, "connection", "x")...)
		}},
		{"streams beyond the limit", "CONCURRENT", 300, func(c *rawClient, i int) {
			c.headers(uint32(2*i+1), false, postHead...)
		}},
		{"PING (CVE-2019-9512)", "PING", 1500, func(c *rawClient, i int) { c.check(c.fr.WritePing(false, [8]byte{1})) }},
		{"SETTINGS (CVE-2019-9515)", "SETTINGS", 300, func(c *rawClient, i int) {
			c.check(c.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: uint32(i)}))
		}},
		{"PRIORITY (CVE-2019-9513)", "PRIORITY", 1500, func(c *rawClient, i int) {
			c.check(c.fr.WritePriority(uint32(2*i+1), xhttp2.PriorityParam{}))
		}},
		{"PRIORITY_UPDATE", "PRIORITY_UPDATE", 1500, func(c *rawClient, i int) {
			c.check(c.fr.WriteRawFrame(xhttp2.FrameType(framePriorityUpdate), 0, 0, []byte("\x00\x00\x00\x01u=1")))
		}},
		{"empty DATA (CVE-2019-9518)", "empty DATA", 1500, func(c *rawClient, i int) {
			if i == 0 {
				c.headers(1, false, postHead...)
			}
			c.check(c.fr.WriteData(1, false, nil))
		}},
		{"empty CONTINUATION", "empty CONTINUATION", 1500, func(c *rawClient, i int) {
			if i == 0 {
				c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: c.fields(getHead...)}))
			}
			c.check(c.fr.WriteContinuation(1, false, nil))
		}},
		{"window dribble (CVE-2019-9511)", "WINDOW_UPDATE", 1500, func(c *rawClient, i int) { c.check(c.fr.WriteWindowUpdate(0, 1)) }},
		{"unknown frames", "unknown", 1500, func(c *rawClient, i int) { c.check(c.fr.WriteRawFrame(0xee, 0, 0, nil)) }},
		{"CONTINUATION (CVE-2023-45288)", "header block", 30, func(c *rawClient, i int) {
			block := c.fields("x", strings.Repeat("\x7f", 4000))
			if i == 0 {
				c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block}))
			}
			c.check(c.fr.WriteContinuation(1, false, make([]byte, 16000)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			limit := 220
			if test.reason == "CONCURRENT" {
				limit = 50
			}
			var running, most atomic.Int64
			release := make(chan struct{})
			e := newEdge(t, serviceFunc(func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-release // a handler that does not heed its context
				return textResponse(200, "ok"), nil
			}), func(cfg *ServerConfig) { cfg.MaxStreams = limit })
			c := e.dial()
			c.t = t
			c.check(c.fr.WriteSettingsAck())
			for i := range test.frames {
				test.send(c, i)
			}
			before := runtime.NumGoroutine()
			if before > limit+30 {
				t.Errorf("%d goroutines for one connection", before)
			}
			code, debug := c.end()
			close(release)
			if code != xhttp2.ErrCodeEnhanceYourCalm || !strings.Contains(debug, test.reason) {
				t.Errorf("GOAWAY %v %q, want ENHANCE_YOUR_CALM for %q", code, debug, test.reason)
			}
			if n := most.Load(); n > int64(limit) {
				t.Errorf("%d handlers at once with %d streams", n, limit)
			}
		})
	}
}

// What a client of flesh and blood does costs it nothing in the end: a score
// decays, and each good exchange earns.
func TestAbuseDecays(t *testing.T) {
	start := time.Unix(1000, 0)
	a := abuse{limit: 100, last: start}
	for range 100 {
		if a.add(1, start, "x") {
			t.Fatal("over at the limit")
		}
	}
	if !a.add(1, start, "x") || a.reason != "x" {
		t.Error("not over beyond it")
	}
	if a.add(1, start.Add(5*time.Second), "x") || a.points > 53 {
		t.Errorf("%v points after five seconds, want about 52", a.points)
	}
	a.earn()
	if a.points > 52 {
		t.Errorf("%v points after a good exchange", a.points)
	}
}

// Streams that a client cancels now and then, as browsers do, are no abuse.
func TestCancelsAreNoAbuse(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	for i := range 100 {
		c.headers(uint32(4*i+1), false, postHead...)
		c.check(c.fr.WriteRSTStream(uint32(4*i+1), xhttp2.ErrCodeCancel))
		c.headers(uint32(4*i+3), true, getHead...)
		c.response(uint32(4*i + 3))
	}
	if n := e.Stats.AbuseCloses.Load(); n != 0 {
		t.Error("closed for abuse")
	}
}

// An HPACK bomb: one entry of the table, named thousands of times. It is counted
// field by field, and nothing is kept beyond the limit.
func TestHeaderBomb(t *testing.T) {
	e := newEdge(t, echo)
	c := e.dial()
	c.headers(1, true, head(getHead, "bomb", strings.Repeat("a", 4000))...)
	if a := c.response(1); a.status != "200" {
		t.Fatalf("answer %+v", a)
	}
	block := c.fields(getHead...)
	for range 16000 {
		block = append(block, 0x80|62)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 3, BlockFragment: block, EndStream: true, EndHeaders: true}))
	a := c.response(3)
	runtime.ReadMemStats(&after)
	if a.status != "431" {
		t.Errorf("answer %+v", a)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes allocated for 64 MB of fields", grown)
	}
}

// A Huffman bomb: the most bits for the fewest characters, and the other way.
func TestHuffmanBomb(t *testing.T) {
	e := newEdge(t, echo)
	for _, char := range []string{"0", "\xff"} {
		c := e.dial()
		value := hpack.AppendHuffmanString(nil, strings.Repeat(char, 80000))
		block := append(c.fields(getHead...), 0x00, 1, 'x')
		block = append(appendHuffmanLength(block, len(value)), value...)
		first := true
		for len(block) > 0 {
			n := min(len(block), 16000)
			if first {
				c.check(c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndStream: true}))
			} else if c.fr.WriteContinuation(1, n == len(block), block[:n]) != nil {
				break // the connection is gone
			}
			first, block = false, block[n:]
		}
		if char == "0" {
			if a := c.response(1); a.status != "431" {
				t.Errorf("answer %+v", a)
			}
		} else if code, _ := c.end(); code != xhttp2.ErrCodeEnhanceYourCalm {
			t.Errorf("GOAWAY %v", code)
		}
	}
}

func appendHuffmanLength(dst []byte, n int) []byte {
	at := len(dst)
	dst = appendInt(dst, 7, n)
	dst[at] |= 0x80
	return dst
}

// Frames that break the connection do so with the right word.
func TestConnectionErrors(t *testing.T) {
	e := newEdge(t, echo)
	setting := func(id xhttp2.SettingID, value uint32) func(*rawClient) {
		return func(c *rawClient) { c.check(c.fr.WriteSettings(xhttp2.Setting{ID: id, Val: value})) }
	}
	raw := func(typ xhttp2.FrameType, flags xhttp2.Flags, id uint32, payload []byte) func(*rawClient) {
		return func(c *rawClient) { c.check(c.fr.WriteRawFrame(typ, flags, id, payload)) }
	}
	for _, test := range []struct {
		name string
		send func(*rawClient)
		want xhttp2.ErrCode
	}{
		{"frame size 0 (CVE-2026-33814)", setting(xhttp2.SettingMaxFrameSize, 0), xhttp2.ErrCodeProtocol},
		{"frame size too large", setting(xhttp2.SettingMaxFrameSize, 1<<24), xhttp2.ErrCodeProtocol},
		{"window too large", setting(xhttp2.SettingInitialWindowSize, 1<<31), xhttp2.ErrCodeFlowControl},
		{"push 2", setting(xhttp2.SettingEnablePush, 2), xhttp2.ErrCodeProtocol},
		{"padding", raw(xhttp2.FrameData, xhttp2.FlagDataPadded, 1, []byte{9, 0}), xhttp2.ErrCodeProtocol},
		{"push promise", raw(xhttp2.FramePushPromise, 4, 1, []byte{0, 0, 0, 2}), xhttp2.ErrCodeProtocol},
		{"short ping", raw(xhttp2.FramePing, 0, 0, []byte{1}), xhttp2.ErrCodeFrameSize},
		{"short goaway", raw(xhttp2.FrameGoAway, 0, 0, []byte{1}), xhttp2.ErrCodeFrameSize},
		{"large frame", raw(xhttp2.FrameData, 0, 1, make([]byte, 16385)), xhttp2.ErrCodeFrameSize},
		{"data on 0", raw(xhttp2.FrameData, 0, 0, nil), xhttp2.ErrCodeProtocol},
		{"even stream", raw(xhttp2.FrameHeaders, 5, 2, nil), xhttp2.ErrCodeProtocol},
		{"broken block", raw(xhttp2.FrameHeaders, 5, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), xhttp2.ErrCodeCompression},
		{"table of nobody", raw(xhttp2.FrameHeaders, 5, 1, []byte{0x80 | 70}), xhttp2.ErrCodeCompression},
		{"table too large", raw(xhttp2.FrameHeaders, 5, 1, []byte{0x3f, 0xff, 0xff, 0x7f}), xhttp2.ErrCodeCompression},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := e.dial()
			c.t = t
			test.send(c)
			if code, _ := c.end(); code != test.want {
				t.Errorf("GOAWAY %v, want %v", code, test.want)
			}
		})
	}
	c := e.dialRaw()
	c.write([]byte("GET / HTTP/1.1\r\n\r\n                  "))
	if code, _ := c.end(); code != xhttp2.ErrCodeProtocol {
		t.Errorf("no preface: %v", code)
	}
}

// Slow readers of large responses hold a page each, not a body.
func TestSlowReaders(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	e := newEdge(t, serviceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Body: &pieces{list: []string{large}}, Length: -1}, nil
	}))
	c := e.dial(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1})
	for i := range 100 {
		c.headers(uint32(2*i+1), true, getHead...)
	}
	for got := 0; got < 100; {
		f, err := c.next()
		c.check(err)
		if d, ok := f.(*xhttp2.DataFrame); ok {
			got += len(d.Data())
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	// 100 pages are 3.2 MB; the bodies would be 100 MB.
	if m.HeapInuse > 32<<20 {
		t.Errorf("%d MB in use for 100 slow readers", m.HeapInuse>>20)
	}
}
