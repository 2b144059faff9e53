package http3

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/stream"
)

// sessionKept is a session cache that tells when a ticket has come.
type sessionKept struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (s *sessionKept) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	select {
	case s.put <- struct{}{}:
	default:
	}
}

// earlyAsk resumes a session and sends head as early data if the server lets it.
func earlyAsk(t *testing.T, ts *testServer, head []byte) (status int, used bool) {
	t.Helper()
	conf := ts.client.Clone()
	cache := &sessionKept{tls.NewLRUClientSessionCache(10), make(chan struct{}, 1)}
	conf.ClientSessionCache = cache
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	first, err := quic.DialAddr(ctx, ts.addr.String(), conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-cache.put
	first.CloseWithError(codeNoError, "")
	conn, err := quic.DialAddrEarly(ctx, ts.addr.String(), conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(codeNoError, "")
	status, err = exchangeRaw(t, conn, frame(frameHeaders, head))
	if err != nil {
		t.Fatal(err)
	}
	return status, conn.ConnectionState().Used0RTT
}

// TestEarlyData: off unless the listener says so; a safe request is marked, and
// what the client says of it itself is not believed; any other waits.
func TestEarlyData(t *testing.T) {
	for _, test := range []struct {
		name, method    string
		on, want, early bool
	}{
		{"off", "GET", false, false, false},
		{"on", "GET", true, true, true},
		{"on, unsafe", "POST", true, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			type seen struct {
				early bool
				marks int
			}
			got := make(chan seen, 1)
			ts := serve(t, func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				got <- seen{req.Early, req.Header.Count("early-data")}
				return text(200, ""), nil
			}, func(cfg *ServerConfig) { cfg.EarlyData = test.on })
			head := block(":method", test.method, ":scheme", "https", ":authority", "localhost", ":path", "/", "early-data", "1")
			status, used := earlyAsk(t, ts, head)
			s := <-got
			if status != 200 || used != test.want {
				t.Errorf("status %d, early data used: %v, want %v", status, used, test.want)
			}
			if !test.early && (s.early || s.marks != 0) {
				t.Errorf("marked as early: %+v", s)
			}
			// The handshake may have ended before the request was read: then it is
			// early no more, and not marked. Both go together.
			if s.early != (s.marks == 1) {
				t.Errorf("early %v with %d marks", s.early, s.marks)
			}
		})
	}
}

// TestMaxConnections: one more than allowed is refused, and counted.
func TestMaxConnections(t *testing.T) {
	ts := serve(t, echo, func(cfg *ServerConfig) { cfg.MaxConnectionsPerClient = 1 })
	conn := raw(t, ts)
	if status, err := exchangeRaw(t, conn, frame(frameHeaders, get())); status != 200 {
		t.Fatal(status, err)
	}
	second := raw(t, ts)
	ended(t, second, codeExcessiveLoad)
	if ts.Stats.TurnedOne.Load() != 1 {
		t.Error("not counted")
	}
}

// TestTurnAway: under overload no connection begins, and those that are there go
// on.
func TestTurnAway(t *testing.T) {
	var busy atomic.Bool
	ts := serve(t, echo, func(cfg *ServerConfig) { cfg.TurnAway = busy.Load })
	conn := raw(t, ts)
	busy.Store(true)
	if status, err := exchangeRaw(t, conn, frame(frameHeaders, get())); status != 200 {
		t.Fatal(status, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := quic.DialAddr(ctx, ts.addr.String(), ts.client, nil); err == nil || ctx.Err() != nil {
		t.Errorf("not refused: %v", err)
	}
	if n := ts.Stats.TurnedBusy.Load(); n == 0 {
		t.Error("not counted")
	}
	busy.Store(false)
	if status, err := exchangeRaw(t, raw(t, ts), frame(frameHeaders, get())); status != 200 {
		t.Error("not served once it is over:", status, err)
	}
}

// TestTight: a connection ends behind its next request.
func TestTight(t *testing.T) {
	var tight atomic.Bool
	ts := serve(t, echo, func(cfg *ServerConfig) { cfg.Tight = tight.Load })
	conn := raw(t, ts)
	if status, err := exchangeRaw(t, conn, frame(frameHeaders, get())); status != 200 {
		t.Fatal(status, err)
	}
	tight.Store(true)
	if status, err := exchangeRaw(t, conn, frame(frameHeaders, get())); status != 200 {
		t.Fatal(status, err)
	}
	ended(t, conn, codeNoError)
}

// TestSourceMustProve: the handshakes of one source that has proved nothing are
// few; then it must answer a Retry.
func TestSourceMustProve(t *testing.T) {
	s := NewServer(ServerConfig{})
	addr := udp(t)
	defer addr.Close()
	from := addr.LocalAddr()
	var ends []context.CancelFunc
	for i := range maxUnprovedSource {
		if s.door.mustProve(from) {
			t.Fatalf("handshake %d must prove its address", i)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ends = append(ends, cancel)
		if _, err := s.door.admit(ctx, &quic.ClientInfo{RemoteAddr: from}); err != nil {
			t.Fatal(err)
		}
	}
	if !s.door.mustProve(from) || s.Stats.Retries.Load() != 1 {
		t.Error("a source with many handshakes need not prove its address")
	}
	for _, end := range ends {
		end()
	}
}

// TestSlowReader: a client that reads nothing is cut off by the limit of the
// phase, and what it does not read is not read from upstream either.
func TestSlowReader(t *testing.T) {
	src := &endless{closed: make(chan struct{})}
	ts := serve(t, func(context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Length: -1, Body: src}, nil
	}, func(cfg *ServerConfig) {
		cfg.Phases[stream.PhaseWrite] = stream.PhaseLimit{Idle: 300 * time.Millisecond}
	})
	conn, err := quic.DialAddr(context.Background(), ts.addr.String(), ts.client, &quic.Config{
		InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10, MaxIncomingUniStreams: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(codeNoError, "")
	str, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(frame(frameHeaders, get()))
	str.Close()
	<-src.closed
	if src.read > 64<<10+2*pageSize {
		t.Errorf("%d bytes were read for a client that took %d", src.read, 64<<10)
	}
}

// endless is a body without end.
type endless struct {
	read   int
	closed chan struct{}
}

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); return len(p), nil }
func (e *endless) Close() error               { close(e.closed); return nil }
func (e *endless) Trailer() *stream.Header    { return nil }

// TestClientGivesUp: a client that stops reading ends the context of its request.
func TestClientGivesUp(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	ts := serve(t, func(ctx context.Context, _ *stream.Request) (*stream.Response, error) {
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, &stream.Fault{Kind: stream.ClientGone}
	}, nil)
	client, _ := httpClient(t, ts)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-entered; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", url(ts, "/"), nil)
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatal("an answer to a request that was given up")
	}
	<-left
}

// BenchmarkExchange is what one request costs, both halves and the library
// together.
func BenchmarkExchange(b *testing.B) {
	ts := serve(b, func(context.Context, *stream.Request) (*stream.Response, error) {
		return text(200, "0123456789"), nil
	}, nil)
	c := dial(b, ts.addr, ts.client, nil)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := ask(b, c, request("GET", "/"))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// TestAllocsHead: reading a head does not cost more for more fields.
func TestAllocsHead(t *testing.T) {
	l := limits()
	measure := func(data []byte) float64 {
		s := new(section)
		var x facts
		return testing.AllocsPerRun(100, func() {
			var req stream.Request
			s.block = data
			if err := s.decode(&meter{side: &requestSide, limits: &l}); err != nil {
				t.Fatal(err)
			}
			if f := readRequest(s, &x, &req, &l); f != nil {
				t.Fatal(f)
			}
		})
	}
	few, many := measure(get("a", "b")), measure(get("a", "b", "accept", "*/*", "x-1", "1", "x-2", "2", "x-3", "3", "user-agent", "weir"))
	if many > few || few > 6 {
		t.Errorf("%v allocations for one field, %v for six", few, many)
	}
}

func TestAltSvc(t *testing.T) {
	if got, want := AltSvc(443, 24*time.Hour), `h3=":443"; ma=86400`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a := &Advertiser{Value: "h3", Next: stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return text(200, ""), nil
	})}
	for proto, want := range map[stream.Proto]int{stream.HTTP11: 1, stream.HTTP2: 1, stream.HTTP3: 0} {
		req := request("GET", "/")
		req.Proto, req.Conn.TLS = proto, &stream.TLS{}
		resp, _ := a.Serve(context.Background(), req)
		if resp.Header.Count("alt-svc") != want {
			t.Errorf("%s: %d Alt-Svc fields, want %d", proto, resp.Header.Count("alt-svc"), want)
		}
	}
}
