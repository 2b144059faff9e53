package bandwidthlimit

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streamed is a body that is not in memory.
type streamed struct{ stream.Body }

func answer(size int, streams bool) stream.Service {
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, stream.AsFault(err)
		}
		req.Body.Close()
		resp := filtertest.Response(200, strings.Repeat("x", size))
		if streams {
			resp.Body = streamed{resp.Body}
		}
		return resp, nil
	})
}

// fetch is how long an exchange takes.
func fetch(t *testing.T, s stream.Service, upload int, want int, fields ...string) time.Duration {
	t.Helper()
	req := filtertest.WithBody(filtertest.Request("POST", "http://h/", fields...), strings.Repeat("x", upload))
	begun := time.Now()
	resp, err := s.Serve(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil || len(content) != want {
		t.Errorf("%d bytes, %v, want %d", len(content), err, want)
	}
	resp.Body.Close()
	return time.Since(begun)
}

// TestPace: what is beyond the burst takes its time, whether it is in memory or
// not, and small content in memory stays there.
func TestPace(t *testing.T) {
	for _, streams := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := filtertest.Build(t, Definition(), "{response: 100KB/s, request: 10KB/s}", answer(500_000, streams))
			if took := fetch(t, s, 0, 500_000); took != 4*time.Second {
				t.Errorf("500 KB at 100 KB/s took %v, want 4 s behind a burst of one", took)
			}
			time.Sleep(10 * time.Second)
			if took := fetch(t, s, 30_000, 500_000); took != 6*time.Second {
				t.Errorf("30 KB at 10 KB/s, then 500 KB at 100 KB/s took %v, want 2 s and 4 s", took)
			}
		})
	}
	s := filtertest.Build(t, Definition(), "response: 100KB/s", answer(100, false))
	resp, err := s.Serve(context.Background(), filtertest.Request("GET", "http://h/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := resp.Body.(stream.Whole); !ok {
		t.Error("a small body is not in memory any more")
	}
	resp.Body.Close()
}

// TestKeysShare: requests of one key share its speed, others have their own.
func TestKeysShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := filtertest.Build(t, Definition(), `{response: 100KB/s, burst: 1KB, key: "header:x-a"}`, answer(100_000, true))
		var work sync.WaitGroup
		for _, c := range []struct {
			key         string
			least, most time.Duration
		}{{"X-A: shared", 1800 * time.Millisecond, 2 * time.Second}, {"X-A: shared", 1800 * time.Millisecond, 2 * time.Second}, {"X-A: alone", 980 * time.Millisecond, time.Second}} {
			work.Go(func() {
				if took := fetch(t, s, 0, 100_000, c.key); took < c.least || took > c.most {
					t.Errorf("%s took %v, want %v to %v", c.key, took, c.least, c.most)
				}
			})
		}
		work.Wait()
	})
}

// TestEndsOfWaits: the end of the exchange and Close end a wait at once.
func TestEndsOfWaits(t *testing.T) {
	for _, byClose := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := filtertest.Build(t, Definition(), "{response: 1KB/s, burst: 1}", answer(100_000, true))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			resp, err := s.Serve(ctx, filtertest.Request("GET", "http://h/"))
			if err != nil {
				t.Fatal(err)
			}
			begun, ended := time.Now(), make(chan error, 1)
			go func() {
				_, err := resp.Body.Read(make([]byte, 64<<10))
				ended <- err
			}()
			synctest.Wait()
			if byClose {
				resp.Body.Close()
			} else {
				cancel()
			}
			if fault := stream.AsFault(<-ended); fault.Kind != stream.ClientGone || time.Since(begun) != 0 {
				t.Errorf("by Close %v: %v after %v", byClose, fault, time.Since(begun))
			}
			resp.Body.Close()
		})
	}
}

// pipe is a tunnel that remembers what is written.
type pipe struct {
	stream.Body
	written bytes.Buffer
	writes  []int
}

func (p *pipe) Write(b []byte) (int, error) {
	p.writes = append(p.writes, len(b))
	return p.written.Write(b)
}
func (p *pipe) CloseWrite() error { return nil }

func TestTunnel(t *testing.T) {
	for _, proto := range []stream.Proto{stream.TCP, stream.UDP} {
		synctest.Test(t, func(t *testing.T) {
			inner := &pipe{Body: stream.BytesBody(make([]byte, 3000))}
			s := filtertest.Build(t, Definition(), "{request: 1KB/s, response: 1KB/s, burst: 100}", stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
				return &stream.Response{Status: 200, Body: inner, Length: -1}, nil
			}))
			req := filtertest.Request("GET", "http://h/")
			req.Proto = proto
			resp, err := s.Serve(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			d := resp.Body.(stream.Duplex)
			begun := time.Now()
			n, err := d.Write(make([]byte, 2100))
			if n != 2100 || err != nil || time.Since(begun) != 2*time.Second {
				t.Errorf("%s: wrote %d, %v, in %v", proto, n, err, time.Since(begun))
			}
			if proto == stream.UDP && len(inner.writes) != 1 {
				t.Errorf("a datagram is written in %d parts", len(inner.writes))
			}
			begun = time.Now()
			first, err := d.Read(make([]byte, 3000))
			if err != nil || proto == stream.UDP && first != 3000 || proto == stream.TCP && first != smallest {
				t.Errorf("%s: read %d, %v", proto, first, err)
			}
			if _, err := io.Copy(io.Discard, d); err != nil || time.Since(begun) != 2900*time.Millisecond {
				t.Errorf("%s: read in %v, %v", proto, time.Since(begun), err)
			}
			d.Close()
			if _, err := d.Write([]byte("x")); proto == stream.TCP && err == nil && time.Since(begun) > 3*time.Second {
				t.Error("a write after Close waits")
			}
		})
	}
}

func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &filtertest.House{}
		s := filtertest.BuildIn(t, h, Definition(), "{response: 1KB/s, mode: shadow}", answer(10_000, true))
		if took := fetch(t, s, 0, 10_000); took != 0 {
			t.Errorf("it took %v", took)
		}
		if late, total := h.Counted(`weir_bandwidth_limit_late_total{direction="response"}`), h.Counted(`weir_bandwidth_limit_bytes_total{direction="response"}`); late == 0 || total != 10_000 {
			t.Errorf("%d parts late, %d bytes", late, total)
		}
	})
}

func TestContract(t *testing.T) {
	out := filtertest.Run(t, Definition(), "{request: 1GB/s, response: 1GB/s}", filtertest.WithBody(filtertest.Request("POST", "http://h/"), "x"), nil)
	if out.Fault != nil || out.Body != "ok" || out.Sent.Body != "x" {
		t.Errorf("%+v", out)
	}
	for settings, want := range map[string]string{
		"": "limits nothing", "response: 1MiB": "no speed", "response: 0/s": "no speed", "response: -1/s": "no speed", "{response: 1MiB/s, key: x}": "not known",
	} {
		if problems := filtertest.Check(t, Definition(), settings); problems.Errors() == 0 || !strings.Contains(problems[0].What, want) {
			t.Errorf("%q: %v, want %q", settings, problems, want)
		}
	}
}

func FuzzSpeed(f *testing.F) {
	for _, text := range []string{"1MiB/s", "512/s", "10MB/s", "1/s", "99999999999999999999GiB/s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Speed
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s || s <= 0 {
			t.Fatalf("%q is %d, written as %q: %v", text, s, s, err)
		}
	})
}
