package http2

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weirproxy/weir/stream"
)

// The upstream answers before it has the request, and wants no more of it.
func TestClientEarlyResponse(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	body, w := newPipeBody()
	got := ask(t, c, t.Context(), clientRequest("POST", "/", body, -1))
	up.expect(http2.FrameHeaders)
	io.WriteString(w, "some")
	if d := up.expect(http2.FrameData); d.data != "some" {
		t.Fatalf("%q", d.data)
	}
	up.headers(1, false, ":status", "413")
	up.data(1, true, "no")
	up.reset(1, http2.ErrCodeNo)
	a := <-got
	if a.err != nil || a.resp.Status != 413 {
		t.Fatal(a.resp, a.err)
	}
	if got := readAll(t, a.resp); got != "no" {
		t.Errorf("body %q", got)
	}
	a.resp.Body.Close() // also closes the body, which ends the upload
	if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the request body is open: %v", err)
	}
	if c.places.Load() != 0 || !c.Reserve() {
		t.Error("the connection is lost")
	}
}

// A conversation: both sides send as they like.
func TestClientConversation(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	body, w := newPipeBody()
	got := ask(t, c, t.Context(), clientRequest("POST", "/", body, -1))
	up.expect(http2.FrameHeaders)
	up.headers(1, false, ":status", "200")
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	p := make([]byte, 10)
	for _, word := range []string{"a", "bc", "def"} {
		io.WriteString(w, word)
		up.data(1, false, up.expect(http2.FrameData).data)
		if err := a.resp.Body.(stream.Awaiter).Await(); err != nil {
			t.Fatal(err)
		}
		if n, err := a.resp.Body.Read(p); err != nil || string(p[:n]) != word {
			t.Fatalf("%q, %v", p[:n], err)
		}
	}
	w.Close()
	if d := up.expect(http2.FrameData); !d.Flags.Has(http2.FlagDataEndStream) {
		t.Error("the end of the request is not told")
	}
	up.headers(1, true, "grpc-status", "0")
	if n, err := a.resp.Body.Read(p); err != io.EOF {
		t.Fatal(n, err)
	}
	a.resp.Body.Close()
	got = ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	for f := range up.seen { // nothing of the first stream in between
		if f.Type == http2.FrameRSTStream {
			t.Error("a stream that ended well was reset")
		}
		if f.Type == http2.FrameHeaders {
			break
		}
	}
	up.headers(3, true, ":status", "200")
	a = <-got
	a.resp.Body.Close()
}

// The client's body breaks off: that is the fault, and the upstream hears of it.
func TestClientUploadBreaks(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	body, w := newPipeBody()
	got := ask(t, c, t.Context(), clientRequest("POST", "/", body, -1))
	up.expect(http2.FrameHeaders)
	io.WriteString(w, "some")
	up.expect(http2.FrameData)
	w.CloseWithError(errors.New("gone"))
	a := <-got
	expectFault(t, a.err, stream.ClientGone, stream.RetryNever)
	if r := up.expect(http2.FrameRSTStream); r.code != http2.ErrCodeCancel {
		t.Errorf("reset with %v", r.code)
	}
}

// DATA waits for the windows of the upstream, and goes on when they open.
func TestClientSendWindows(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
	req := clientRequest("POST", "/", stream.BytesBody([]byte("0123456789abcdef")), 16)
	got := ask(t, c, t.Context(), req)
	up.expect(http2.FrameHeaders)
	if d := up.expect(http2.FrameData); d.data != "01234" || d.Flags.Has(http2.FlagDataEndStream) {
		t.Fatalf("%q", d.data)
	}
	up.write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(1, 3) })
	if d := up.expect(http2.FrameData); d.data != "567" {
		t.Fatalf("%q", d.data)
	}
	up.write(func(fr *http2.Framer) error {
		return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	})
	if d := up.expect(http2.FrameData); d.data != "89abcdef" || !d.Flags.Has(http2.FlagDataEndStream) {
		t.Fatalf("%q", d.data)
	}
	up.headers(1, true, ":status", "200")
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	a.resp.Body.Close()
}

func TestClientDeadlines(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	req := clientRequest("GET", "/", nil, 0)
	req.Deadline = time.Now().Add(-time.Second)
	_, err := do(t, c, req)
	expectFault(t, err, stream.UpstreamTimeout, stream.RetryUnsent)

	req = clientRequest("GET", "/", nil, 0)
	req.Deadline = time.Now().Add(30 * time.Millisecond)
	_, err = do(t, c, req)
	expectFault(t, err, stream.UpstreamTimeout, stream.RetryIdempotent)
	if r := up.expect(http2.FrameRSTStream); r.StreamID != 1 || r.code != http2.ErrCodeCancel {
		t.Errorf("%v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := ask(t, c, ctx, clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	cancel()
	a := <-got
	expectFault(t, a.err, stream.ClientGone, stream.RetryNever)
	if r := up.expect(http2.FrameRSTStream); r.StreamID != 3 || r.code != http2.ErrCodeCancel {
		t.Errorf("%v", r)
	}
	if c.places.Load() != 0 {
		t.Errorf("%d places", c.places.Load())
	}
}

func TestClientPlaces(t *testing.T) {
	u := newClientSetup(t)
	u.cfg.MaxStreams = 3
	c, up := newFakeUpstream(t, u, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	if !c.Reserve() || c.Reserve() {
		t.Error("two places, as the upstream says")
	}
	up.write(func(fr *http2.Framer) error {
		return fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	})
	up.headers(1, true, ":status", "200")
	a := <-got
	if !c.Reserve() || c.Reserve() {
		t.Error("three places, as the document says")
	}
	a.resp.Body.Close()
	if !c.Reserve() || c.Reserve() {
		t.Error("the place of the exchange that ended")
	}
}

func TestClientNotHTTP2(t *testing.T) {
	for _, tc := range []struct {
		name string
		send func(up *fakeUpstream)
	}{
		{"HTTP/1", func(up *fakeUpstream) { up.raw([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) }},
		{"closed", func(up *fakeUpstream) { up.nc.Close() }},
		{"another frame first", func(up *fakeUpstream) { up.raw(rawFrame(framePing, 0, 0, make([]byte, 8))) }},
		{"GOAWAY first", func(up *fakeUpstream) { up.goAway(0, http2.ErrCodeNo) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newClientSetup(t)
			c, up := newSilentUpstream(t, u)
			tc.send(up)
			err := c.Ready(t.Context(), time.Now().Add(10*time.Second))
			expectFault(t, err, stream.ConnectFailed, stream.RetryUnsent)
			<-c.Done()
		})
	}
	u := newClientSetup(t)
	c, _ := newSilentUpstream(t, u)
	expectFault(t, c.Ready(t.Context(), time.Now().Add(20*time.Millisecond)), stream.ConnectTimeout, stream.RetryUnsent)
	<-c.Done()
}

// Requests that wait behind another write when the connection ends have not
// been seen by anybody.
func TestClientUnsent(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	sent := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	c.out.mu.Lock()
	c.out.writing = true // somebody writes, and does not get on
	c.out.mu.Unlock()
	first := ask(t, c, t.Context(), clientRequest("POST", "/", stream.BytesBody([]byte("x")), 1))
	second := ask(t, c, t.Context(), clientRequest("POST", "/", nil, 0))
	for streamsOf(c) < 3 {
		runtime.Gosched()
	}
	up.nc.Close()
	a := <-sent
	expectFault(t, a.err, stream.UpstreamClosed, stream.RetryIdempotent)
	for _, got := range []<-chan answered{first, second} {
		a := <-got
		expectFault(t, a.err, stream.UpstreamClosed, stream.RetryUnsent)
	}
	<-c.Done() // or its farewell would wait for who writes
}

// An upstream hears that a connection goes.
func TestClientFarewell(t *testing.T) {
	for _, leave := range []func(c *Client){func(c *Client) { c.Close() }, (*Client).Retire} {
		u := newClientSetup(t)
		c, up := newFakeUpstream(t, u)
		leave(c)
		if f := up.expect(http2.FrameGoAway); f.code != http2.ErrCodeNo {
			t.Errorf("GOAWAY %v", f.code)
		}
		<-c.Done()
	}
}

// Close ends what is under way.
func TestClientClose(t *testing.T) {
	u := newClientSetup(t)
	c, up := newFakeUpstream(t, u)
	got := ask(t, c, t.Context(), clientRequest("GET", "/", nil, 0))
	up.expect(http2.FrameHeaders)
	c.Close()
	a := <-got
	expectFault(t, a.err, stream.UpstreamClosed, stream.RetryIdempotent)
	<-c.Done()
}
