package fault

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func call(kind stream.GRPC) *stream.Request {
	req := filtertest.WithBody(filtertest.Request("POST", "http://h/a.B/C", "Content-Type: application/grpc"), "message")
	req.GRPC = kind
	return req
}

func TestStatus(t *testing.T) {
	b := newBench(t, "abort: {share: 0.1, status: 502}", always())
	for method, body := range map[string]string{"GET": "502\nThe failure is made on purpose, as a test.\nRequest id: test-1\n", "HEAD": ""} {
		req := filtertest.Request(method, "http://h/")
		out := b.ask(context.Background(), req)
		status, _ := out.header.Get("Proxy-Status")
		if out.status != 502 || out.sent || out.body != body || status != `weir; error=proxy_internal_response; details="fault_injected"` {
			t.Errorf("%s: %+v", method, out)
		}
		if f := req.Exchange.Fault; f == nil || f.Kind != stream.FaultInjected || f.HangsUp() {
			t.Errorf("%s: the log says %v", method, f)
		}
	}
	b.counted(injectedBy("status"), 2)
}

func TestGRPC(t *testing.T) {
	for kind, contentType := range map[stream.GRPC]string{
		stream.GRPCCall: "application/grpc", stream.GRPCWeb: "application/grpc-web", stream.GRPCWebText: "application/grpc-web-text",
	} {
		b := newBench(t, "abort: {share: 0.1, grpc: deadline-exceeded}", always())
		req := call(kind)
		out := b.ask(context.Background(), req)
		got := strings.Join(filtertest.Lines(&out.header), "|")
		want := "Content-Type: " + contentType + "|grpc-status: 4|grpc-message: The failure is made on purpose, as a test.|Proxy-Status: " + injected
		if out.status != 200 || out.body != "" || out.sent || got != want || req.Exchange.Fault.Kind != stream.FaultInjected {
			t.Errorf("%+v, header %s", out, got)
		}
		if out := b.get(); out.status != 200 || !out.sent { // no call
			t.Errorf("%+v", out)
		}
		b.counted(injectedBy("grpc"), 1)
	}
}

func TestHangup(t *testing.T) {
	for kind, want := range map[string]stream.Hangup{"reset": stream.Reset, "half_close": stream.HalfClose} {
		b := newBench(t, "abort: {share: 0.1, "+kind+": true}", always())
		out := b.ask(context.Background(), filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content"))
		if f := out.fault; f == nil || f.Kind != stream.FaultInjected || f.Hangup != want || f.Retry != stream.RetryNever || out.sent {
			t.Errorf("%s: %+v", kind, out)
		}
		b.counted(injectedBy(kind), 1)
	}
}

// What breaks off has announced its whole length, or none.
func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		name, at, method, content string
		unknown                   bool // its length
		want                      string
		cut                       bool
	}{
		{"longer", "4", "GET", "0123456789", false, "0123", true},
		{"at once", "0", "GET", "0123456789", false, "", true},
		{"longer, unknown length", "4", "GET", "0123456789", true, "0123", true},
		{"as long", "10", "GET", "0123456789", false, "0123456789", false},
		{"shorter", "1KiB", "GET", "0123456789", true, "0123456789", false},
		{"nothing", "0", "GET", "", false, "", false},
		{"HEAD", "0", "HEAD", "", false, "", false},
	} {
		b := newBench(t, "abort: {share: 0.1, truncate: "+c.at+"}", always())
		var given *stream.Response
		b.next.Answer = func(*stream.Request) (*stream.Response, error) {
			given = filtertest.Response(200, c.content)
			if c.unknown {
				given.Length, given.Body = -1, struct{ stream.Body }{given.Body} // not in memory
			}
			return given, nil
		}
		out := b.ask(context.Background(), filtertest.Request(c.method, "http://h/"))
		if out.status != 200 || out.body != c.want || (out.broken != nil) != c.cut {
			t.Errorf("%s: %+v", c.name, out)
		}
		if wanted := int64(len(c.content)); !c.unknown && given.Length != wanted {
			t.Errorf("%s: %d bytes announced, want %d", c.name, given.Length, wanted)
		}
		n := int64(0)
		if c.cut {
			n = 1
			if stream.AsFault(out.broken).Kind != stream.FaultInjected {
				t.Errorf("%s: it broke off by %v", c.name, out.broken)
			}
		}
		b.counted(injectedBy("truncate"), n)
		if b.drill.active.Load() != 0 {
			t.Errorf("%s: it is still under way", c.name)
		}
	}
}

func TestTruncateInMemory(t *testing.T) {
	b := newBench(t, "abort: {share: 0.1, truncate: 4}", always())
	var given *stream.Response
	b.next.Answer = func(*stream.Request) (*stream.Response, error) {
		given = filtertest.Response(200, "0123456789")
		given.Length = -1
		return given, nil
	}
	if out := b.get(); out.body != "0123" || out.broken == nil || given.Length != 10 {
		t.Errorf("%+v, %d bytes announced", out, given.Length)
	}
}

// Content drips, and comes as it is once the drill is over.
func TestSlow(t *testing.T) {
	for _, c := range []struct {
		name, stop string
		want       time.Duration
	}{
		{"to its end", "", 900 * time.Millisecond}, // the first of ten pieces comes at once
		{"until the drill is over", ", stop: {after: 450ms}", 450 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, "{abort: {share: 0.1, slow: {bytes_per_second: 100}}"+c.stop+"}", always())
			content := strings.Repeat("0123456789", 10)
			b.next.Answer = func(*stream.Request) (*stream.Response, error) { return filtertest.Response(200, content), nil }
			begin := time.Now()
			out := b.get()
			if took := time.Since(begin); out.body != content || out.broken != nil || took < c.want || took > c.want+100*time.Millisecond {
				t.Errorf("%s: %v, want %v: %+v", c.name, took, c.want, out)
			}
			if note, _ := out.header.Get("Proxy-Status"); note != noteSlow {
				t.Errorf("%s: Proxy-Status %q", c.name, note)
			}
			b.counted(injectedBy("slow"), 1)
		})
	}
}

// The wait for a piece ends when the exchange does.
func TestSlowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "abort: {share: 0.1, slow: {bytes_per_second: 1}}", always())
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		resp, err := b.Serve(ctx, filtertest.Request("GET", "http://h/"))
		if err != nil {
			t.Fatal(err)
		}
		if b.drill.active.Load() != 1 {
			t.Error("it does not count as under way")
		}
		begin := time.Now()
		content, err := io.ReadAll(resp.Body)
		if f, ok := err.(*stream.Fault); !ok || f.Kind != stream.ClientGone || string(content) != "o" || time.Since(begin) != 500*time.Millisecond {
			t.Errorf("%q, %v after %v", content, err, time.Since(begin))
		}
		resp.Body.Close()
		resp.Body.Close()
		if n := b.drill.active.Load(); n != 0 {
			t.Errorf("%d under way behind the end", n)
		}
	})
}

// Tunnels and connections have no response to spoil.
func TestNotApplicable(t *testing.T) {
	for settings, request := range map[string]func(*stream.Request){
		"status: 503":                  func(r *stream.Request) { r.Proto = stream.TCP },
		"truncate: 1":                  func(r *stream.Request) { r.Proto = stream.UDP },
		"slow: {bytes_per_second: 1}":  func(r *stream.Request) { r.Upgrade = "websocket" },
		"truncate: 0":                  func(r *stream.Request) { r.Method = "CONNECT" },
		"grpc: internal":               func(*stream.Request) {},
		"slow: {bytes_per_second: 10}": func(r *stream.Request) { r.Proto = stream.Framed },
	} {
		b := newBench(t, "abort: {share: 0.1, "+settings+"}", always())
		req := filtertest.Request("GET", "http://h/")
		request(req)
		if out := b.ask(context.Background(), req); out.status != 200 || !out.sent || out.broken != nil {
			t.Errorf("%s: %+v", settings, out)
		}
		if _, hits := b.drill.window.measured(time.Now()); hits != 0 {
			t.Errorf("%s: %d faults counted", settings, hits)
		}
	}
}

func TestFaultOfTheService(t *testing.T) {
	b := newBench(t, "abort: {share: 0.1, truncate: 1}", always())
	b.next.Answer = filtertest.Fail(stream.NoEndpoint).Answer
	if out := b.get(); out.fault == nil || out.fault.Kind != stream.NoEndpoint || b.drill.active.Load() != 0 {
		t.Errorf("%+v", out)
	}
}
