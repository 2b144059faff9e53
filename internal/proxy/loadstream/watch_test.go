package loadstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	service "github.com/cncf/xds/go/xds/service/orca/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame puts the head of gRPC in front of a message.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// report is one of an endpoint that has used a share of itself for a hundred
// requests a second.
func report(used float64) []byte {
	double := func(number byte, v float64) []byte {
		return binary.LittleEndian.AppendUint64([]byte{number<<3 | 1}, math.Float64bits(v))
	}
	return frame(append(double(1, used), double(6, 100)...))
}

// peer is an endpoint: each stream that is opened plays say, which writes into it
// and returns what stands in its trailer.
type peer struct {
	ep     *endpoint.Endpoint
	status int
	header stream.Header
	say    func(ctx context.Context, out io.Writer) (trailer stream.Header)
	slow   time.Duration // before it refuses

	mu     sync.Mutex
	opened []time.Time
}

// streamed is the body of a stream.
type streamed struct {
	*io.PipeReader
	trailer stream.Header
	done    chan struct{}
}

func (b *streamed) Trailer() *stream.Header { return &b.trailer }

func (b *streamed) Close() error {
	err := b.PipeReader.Close()
	<-b.done
	return err
}

func (p *peer) call(ctx context.Context, _ *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	p.mu.Lock()
	p.opened = append(p.opened, time.Now())
	p.mu.Unlock()
	if p.say == nil {
		time.Sleep(p.slow)
		return nil, stream.Faultf(stream.ConnectRefused, stream.RetryUnsent, "refused")
	}
	in, out := io.Pipe()
	body := &streamed{PipeReader: in, done: make(chan struct{})}
	end := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	go func() {
		defer close(body.done)
		defer end()
		body.trailer = p.say(ctx, out)
		out.Close()
	}()
	header := p.header.Clone()
	return &stream.Response{Status: p.status, Header: header, Body: body}, nil
}

func newPeer(i int, say func(context.Context, io.Writer) stream.Header) *peer {
	p := &peer{status: 200, say: say}
	p.header.AddID(stream.ContentType, "application/grpc")
	p.ep = endpoint.New(endpoint.Spec{Network: "tcp", Address: fmt.Sprintf("10.0.0.%d:80", i), Host: "x", Weight: 1}, endpoint.NewLoad(0, 0), time.Now())
	return p
}

// every writes a message at once and then at an interval, until ctx ends.
func every(interval time.Duration, message []byte) func(context.Context, io.Writer) stream.Header {
	return func(ctx context.Context, out io.Writer) (none stream.Header) {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			if _, err := out.Write(message); err != nil {
				return none
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return none
			}
		}
	}
}

// once writes and ends the stream with a status.
func once(status string, messages ...[]byte) func(context.Context, io.Writer) stream.Header {
	return func(_ context.Context, out io.Writer) (trailer stream.Header) {
		_, _ = out.Write(bytes.Join(messages, nil))
		if status != "" {
			trailer.Add("grpc-status", status)
		}
		return trailer
	}
}

// watch runs a watcher of peers for a while and returns it as it is then.
func watch(t *testing.T, d time.Duration, peers ...*peer) (w *Watcher, set *endpoint.Set) {
	t.Helper()
	by := map[*endpoint.Endpoint]*peer{}
	var list []*endpoint.Endpoint
	for _, p := range peers {
		by[p.ep] = p
		list = append(list, p.ep)
	}
	w = New(Config{
		Interval: 10 * time.Second, Silence: 90 * time.Second, Log: slog.New(slog.DiscardHandler),
		Call: func(ctx context.Context, e *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
			return by[e].call(ctx, e, req)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	set = endpoint.Layout{Reports: true}.NewSet(list)
	w.Update(set)
	time.Sleep(d)
	synctest.Wait()
	return w, set
}

// TestReports: streams become weights, without any request.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		half, quarter := newPeer(1, every(10*time.Second, report(0.5))), newPeer(2, every(30*time.Second, report(0.25)))
		w, set := watch(t, time.Minute, half, quarter)
		set.Weigh(time.Now())
		if got := [2]float64{half.ep.Factor(), quarter.ep.Factor()}; got != [2]float64{2.0 / 3, 4.0 / 3} {
			t.Errorf("factors %v", got)
		}
		if s := &w.Stats; s.Open.Load() != 2 || s.Opened.Load() != 2 || s.Failed.Load() != 0 || s.Reports.Load() != 7+3 {
			t.Errorf("open %d, opened %d, failed %d, reports %d", s.Open.Load(), s.Opened.Load(), s.Failed.Load(), s.Reports.Load())
		}
		if got := w.State(half.ep); got != "" {
			t.Errorf("state %q", got)
		}
		w.Update(endpoint.Layout{Reports: true}.NewSet([]*endpoint.Endpoint{half.ep}))
		time.Sleep(time.Second)
		if got := w.Stats.Open.Load(); got != 1 {
			t.Errorf("%d streams are open after one endpoint has gone", got)
		}
		if len(half.opened) != 1 {
			t.Errorf("the stream of an endpoint that stays was opened %d times", len(half.opened))
		}
	})
}

// TestHostile: what endpoints may do, why the stream ends, and what was counted.
// All of them are asked again, after growing waits.
func TestHostile(t *testing.T) {
	flood := func(message []byte) func(context.Context, io.Writer) stream.Header {
		return func(ctx context.Context, out io.Writer) (none stream.Header) {
			for ctx.Err() == nil {
				if _, err := out.Write(message); err != nil {
					break
				}
			}
			return none
		}
	}
	for _, tt := range []struct {
		name   string
		say    func(context.Context, io.Writer) stream.Header
		change func(*peer)
		want   string
		bad    bool
		most   int // streams in an hour
	}{
		{"connects not", nil, nil, "refused", false, 45},
		{"connects not, after longer than an interval", nil, func(p *peer) { p.slow = 15 * time.Second }, "refused", false, 45},
		{"status 503", once(""), func(p *peer) { p.status = 503 }, "HTTP status 503", false, 45},
		{"speaks no gRPC", once(""), func(p *peer) { p.header = stream.Header{} }, "does not speak gRPC", false, 45},
		{"does not know the service", once(""), func(p *peer) { p.header.Add("grpc-status", "12") }, "does not implement", false, 8},
		{"does not know it, in a trailer", once("12"), nil, "does not implement", false, 8},
		{"refuses", once("7"), nil, "gRPC status PERMISSION_DENIED", false, 45},
		{"ends without a status", once("", report(0.5)), nil, "without a gRPC status", false, 45},
		{"ends after one", once("0", report(0.5)), nil, "gRPC status OK", false, 45},
		{"ends within the head", once("0", report(0.5)[:3]), nil, "ends within a report", true, 45},
		{"ends within a report", once("0", report(0.5)[:10]), nil, "ends within a report", true, 45},
		{"ends behind the head", once("0", report(0.5)[:5]), nil, "ends within a report", true, 45},
		{"compresses", once("0", []byte("\x01\x00\x00\x00\x01\x00")), nil, "compressed", true, 45},
		{"writes much", once("0", []byte("\x00\x00\x01\x00\x01")), nil, "larger than 64 KiB", true, 45},
		{"writes what is no message", once("0", frame([]byte("\xff"))), nil, "not a message", true, 45},
		{"writes what is no load", once("0", report(-1)), nil, "is no load", true, 45},
		{"writes without end", flood(report(0.5)), nil, "faster than they were asked for", true, 45},
		{"writes nothings without end", flood(frame(nil)), nil, "faster than they were asked for", true, 45},
		{"is silent", every(time.Hour, nil), nil, "no report within 1m30s", false, 41},
		{"trickles", every(time.Minute, []byte{0}), nil, "no report within 1m30s", false, 41},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer(1, tt.say)
				if tt.change != nil {
					tt.change(p)
				}
				w, _ := watch(t, time.Hour, p)
				if got := w.State(p.ep); !strings.Contains(got, tt.want) || got == "" {
					t.Errorf("state %q, want %q", got, tt.want)
				}
				if bad := w.Stats.Bad.Load(); (bad > 0) != tt.bad {
					t.Errorf("%d bad reports", bad)
				}
				if n := len(p.opened); n > tt.most || n < 4 {
					t.Errorf("opened %d times in an hour, want 4 to %d", n, tt.most)
				}
			})
		})
	}
}

// TestPanicEndsOneStream: what panics is that stream, and it is asked again.
func TestPanicEndsOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, well := newPeer(1, nil), newPeer(2, every(10*time.Second, report(0.5)))
		calls := 0
		w := New(Config{Interval: 10 * time.Second, Silence: time.Minute, Log: slog.New(slog.DiscardHandler), Call: func(ctx context.Context, e *endpoint.Endpoint, req *stream.Request) (*stream.Response, error) {
			if e == broken.ep {
				calls++
				panic("transport")
			}
			return well.call(ctx, e, req)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		w.Update(endpoint.NewSet([]*endpoint.Endpoint{broken.ep, well.ep}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.Stats.Panics.Load() < 2 || int(w.Stats.Panics.Load()) != calls || w.State(well.ep) != "" || !strings.Contains(w.State(broken.ep), "panicked") {
			t.Errorf("%d panics of %d calls, %q, %q", w.Stats.Panics.Load(), calls, w.State(well.ep), w.State(broken.ep))
		}
		cancel()
		running.Wait()
	})
}

// TestManyAreOpenedInTurn: endpoints that let the opening wait do not keep others
// from theirs for long.
func TestManyAreOpenedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 3 * atOnce
		var mu sync.Mutex
		opening := 0
		seen := func() int {
			mu.Lock()
			defer mu.Unlock()
			return opening
		}
		w := New(Config{Interval: 10 * time.Second, Silence: time.Minute, Log: slog.New(slog.DiscardHandler), Call: func(ctx context.Context, _ *endpoint.Endpoint, _ *stream.Request) (*stream.Response, error) {
			mu.Lock()
			opening++
			mu.Unlock()
			<-ctx.Done()
			return nil, errors.New("ended")
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		var list []*endpoint.Endpoint
		for i := range slow {
			list = append(list, newPeer(i, nil).ep)
		}
		w.Update(endpoint.NewSet(list))
		time.Sleep(turn - 1)
		synctest.Wait()
		if got := seen(); got != atOnce {
			t.Errorf("%d are being opened, want %d", got, atOnce)
		}
		time.Sleep(2 * turn)
		synctest.Wait()
		if got := seen(); got != slow {
			t.Errorf("%d have had their turn, want %d", got, slow)
		}
		cancel()
		running.Wait()
	})
}

func TestRequest(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Second, 1500 * time.Millisecond, time.Nanosecond} {
		var m service.OrcaLoadReportRequest
		if err := proto.Unmarshal(request(interval)[frameHead:], &m); err != nil || m.ReportInterval.AsDuration() != interval {
			t.Errorf("%v: %v, %v", interval, m.ReportInterval, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(report(0.5))
	f.Add(append(report(0.5), frame(nil)...))
	f.Add([]byte("\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := reader{from: bytes.NewReader(content)}
		read := 0
		for {
			message, err := r.next()
			if err != nil {
				if whole := read == len(content); whole != (err == io.EOF) {
					t.Errorf("%x: %v after %d of %d bytes", content, err, read, len(content))
				}
				break
			}
			read += frameHead + len(message)
		}
		if cap(r.buf) > maxReport {
			t.Errorf("%d bytes of memory", cap(r.buf))
		}
	})
}
