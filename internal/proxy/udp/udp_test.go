package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/weirproxy/weir/stream"
)

func TestSession(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	nc := p.client(t)
	sum := int64(0)
	for _, text := range []string{"first", "", "second", strings.Repeat("x", 60_000)} {
		if got := say(t, nc, text); got != text {
			t.Fatalf("%d bytes came back for %d", len(got), len(text))
		}
		sum += int64(len(text))
	}
	until(t, "the last reply is counted", func() bool { return p.Stats.BytesOut.Load() == sum })
	states := 0
	for st := range p.Connections {
		if states++; st.Phase != stream.PhaseTunnel || st.BytesIn != sum || st.BytesOut != sum || st.Facts.Remote.String() != nc.LocalAddr().String() {
			t.Errorf("%+v, %v", st, st.Facts)
		}
	}
	open, idle := m.transport.Connections()
	if states != 1 || m.InFlight() != 1 || open != 1 || idle != 0 || m.load.Connections() != 1 {
		t.Errorf("%d sessions, %d in flight, %d connections", states, m.InFlight(), open)
	}
	p.CloseAll()
	req := p.ended(t)
	x := &req.Exchange
	if req.Proto != stream.UDP || req.ID == "" || req.Client != netip.MustParseAddr("127.0.0.1") || req.Conn.Listener != "dns" ||
		req.Conn.ID != 1 || req.Conn.Local.String() != p.address || x.BytesIn != sum || x.BytesOut != sum || x.Status != 200 || x.Fault != nil ||
		x.Start.IsZero() || x.End.Before(x.Start) || x.UpstreamEnd.IsZero() {
		t.Errorf("%+v", req)
	}
	until(t, "places given back", func() bool { return m.InFlight() == 0 && m.load.Connections() == 0 && m.load.Requests() == 0 })
}

// TestEmptyFirst: a datagram without content begins a session like any other.
func TestEmptyFirst(t *testing.T) {
	p := start(t, try(newMember(upstream(t, func(b []byte) []byte { return fmt.Appendf(nil, "%d", len(b)) }).LocalAddr().String(), 0)), nil)
	if got := say(t, p.client(t), ""); got != "0" {
		t.Errorf("%q", got)
	}
}

func TestSilenceEndsASession(t *testing.T) {
	cases := map[string]struct {
		idle   time.Duration
		tunnel stream.TunnelLimits
		busy   bool
	}{
		"of the listener": {idle: 100 * time.Millisecond},
		"of the route":    {idle: time.Hour, tunnel: stream.TunnelLimits{Idle: 100 * time.Millisecond}},
		"longest":         {idle: time.Hour, tunnel: stream.TunnelLimits{Max: 200 * time.Millisecond}, busy: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMember(upstream(t, echo).LocalAddr().String(), 0) // a flood fills its socket
			p := start(t, service(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				req.Tunnel = c.tunnel
				return try(m)(ctx, req)
			}), func(cfg *ServerConfig) { cfg.SessionIdle = c.idle })
			nc := p.client(t)
			say(t, nc, "a")
			for c.busy && len(p.done) == 0 {
				send(t, nc, "b")
			}
			if req := p.ended(t); req.Exchange.Fault != nil {
				t.Errorf("it ended by %v", req.Exchange.Fault)
			}
		})
	}
}

func TestTwoSessionsAfterSilence(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, try(m), func(cfg *ServerConfig) { cfg.SessionIdle = 100 * time.Millisecond })
	nc := p.client(t)
	say(t, nc, "a")
	first := p.ended(t)
	until(t, "the session has gone", func() bool { return p.Stats.Open.Load() == 0 })
	if say(t, nc, "b") != "b" {
		t.Fatal("not served after silence")
	}
	if second := p.ended(t); second.Conn.ID == first.Conn.ID || second.ID == first.ID || p.Stats.Opened.Load() != 2 {
		t.Error("one session, want two")
	}
}

func TestLimits(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	for name, c := range map[string]struct {
		change  func(*ServerConfig)
		refused func(*Stats) int64
	}{
		"all": {func(cfg *ServerConfig) { cfg.MaxSessions = 2 }, func(s *Stats) int64 { return s.RefusedFull.Load() }},
		"overload": {func(cfg *ServerConfig) {
			begun := 0 // Refuse is called by the reader only
			cfg.Refuse = func() bool { begun++; return begun == 3 }
		}, func(s *Stats) int64 { return s.RefusedBusy.Load() }},
		"per client": {func(cfg *ServerConfig) { cfg.MaxSessionsPerClient = 2 }, func(s *Stats) int64 { return s.RefusedClient.Load() }},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, try(m), c.change)
			a, b := p.client(t), p.client(t)
			say(t, a, "a")
			say(t, b, "b")
			late := p.client(t)
			send(t, late, "c")
			until(t, "refused", func() bool { return c.refused(&p.Stats) == 1 })
			if say(t, a, "again") != "again" || p.Stats.Open.Load() != 2 {
				t.Error("a session that was open suffers")
			}
			p.CloseAll()
			until(t, "room", func() bool { return p.Stats.Open.Load() == 0 })
			if say(t, late, "d") != "d" {
				t.Error("not served once there is room")
			}
		})
	}
}

func TestLimitOfSockets(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 1)
	p := start(t, try(m), nil)
	say(t, p.client(t), "a")
	send(t, p.client(t), "b")
	if f := p.ended(t).Exchange.Fault; f == nil || f.Kind != stream.ClusterFull || m.stats.Full.Load() != 1 || m.load.Connections() != 1 {
		t.Errorf("%v", f)
	}
}

// TestWaitingDatagrams: what comes while the upstream is picked is kept in
// order, up to a limit.
func TestWaitingDatagrams(t *testing.T) {
	const sent = 100
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	ready := make(chan struct{})
	p := start(t, service(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		<-ready
		return try(m)(ctx, req)
	}), nil)
	nc := p.client(t)
	for i := range sent {
		send(t, nc, fmt.Sprint(i))
	}
	until(t, "all are there", func() bool { return p.Stats.DatagramsIn.Load() == sent })
	close(ready)
	for i := range 1 + maxQueued {
		if got := hear(t, nc); got != fmt.Sprint(i) {
			t.Fatalf("datagram %d is %q", i, got)
		}
	}
	if n := p.Stats.Overflowed.Load(); n != sent-1-maxQueued {
		t.Errorf("%d were dropped", n)
	}
	if say(t, nc, "next") != "next" {
		t.Error("the session does not go on")
	}
}

// TestWaitingBytes: large ones are fewer.
func TestWaitingBytes(t *testing.T) {
	ready := make(chan struct{})
	p := start(t, service(func(context.Context, *stream.Request) (*stream.Response, error) {
		<-ready
		return nil, &stream.Fault{Kind: stream.NoEndpoint}
	}), nil)
	defer close(ready)
	nc := p.client(t)
	for range 4 {
		send(t, nc, strings.Repeat("x", 30_000))
	}
	until(t, "the fourth is dropped", func() bool { return p.Stats.Overflowed.Load() == 1 })
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	pc := socket(t)
	pc.Close()
	return pc.LocalAddr().String()
}

// TestNobodyListens: the attempt fails with nothing lost, and the next endpoint
// gets the datagram.
func TestNobodyListens(t *testing.T) {
	dead, alive := newMember(closedPort(t), 0), newMember(upstream(t, echo).LocalAddr().String(), 0)
	req := &stream.Request{Body: stream.BytesBody([]byte("x")), Conn: new(stream.Conn)}
	_, err := dead.transport.Serve(t.Context(), req)
	if f := stream.AsFault(err); f.Kind != stream.ConnectRefused || f.Retry != stream.RetryUnsent || dead.load.Connections() != 0 || dead.stats.Refused.Load() != 1 {
		t.Fatalf("%v, retry %v", f, f.Retry)
	}
	if dead.Status(time.Now()).Failures != 0 {
		t.Error("counted here and by the cluster again")
	}
	p := start(t, try(dead, alive), nil)
	if say(t, p.client(t), "x") != "x" || dead.InFlight() != 0 || alive.InFlight() != 1 {
		t.Error("the other endpoint did not get it")
	}
}

// TestFailedSessionStays: a flood from one client is one attempt a second.
func TestFailedSessionStays(t *testing.T) {
	p := start(t, try(newMember(closedPort(t), 0)), nil)
	nc := p.client(t)
	send(t, nc, "x")
	if f := p.ended(t).Exchange.Fault; f == nil || f.Kind != stream.ConnectRefused {
		t.Fatal(f)
	}
	for range 50 {
		send(t, nc, "x")
	}
	until(t, "all are taken", func() bool { return p.Stats.Undelivered.Load() == 50 })
	if n := p.Stats.Opened.Load(); n != 1 || len(p.done) != 0 || p.Stats.Failed.Load() != 1 {
		t.Errorf("%d sessions", n)
	}
	until(t, "the session has gone", func() bool { return p.Stats.Open.Load() == 0 })
}

// TestEndpointGoes: an endpoint that stops to listen ends the session with a
// fault that counts against it.
func TestEndpointGoes(t *testing.T) {
	pc := upstream(t, echo)
	m := newMember(pc.LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	nc := p.client(t)
	say(t, nc, "x")
	pc.Close()
	send(t, nc, "y")
	if f := p.ended(t).Exchange.Fault; f == nil || f.Kind != stream.UpstreamReset || f.Retry != stream.RetryNever {
		t.Errorf("%v", f)
	}
	if n := m.Status(time.Now()).Failures; n != 1 {
		t.Errorf("%d failures of the endpoint", n)
	}
}

// TestSilentEndpoint: without a sign the session begins all the same.
func TestSilentEndpoint(t *testing.T) {
	got := make(chan string, 10)
	m := newMember(upstream(t, func(b []byte) []byte { got <- string(b); return nil }).LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	nc := p.client(t)
	for _, text := range []string{"a", "b", "c"} {
		send(t, nc, text)
	}
	for _, want := range []string{"a", "b", "c"} {
		if text := <-got; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestPanicsEndOneSession(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, service(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		switch b, _ := req.Body.(stream.Whole).Bytes(); string(b) {
		case "serve":
			panic("on purpose")
		case "write":
			return &stream.Response{Status: 200, Body: &broken{closed: make(chan struct{})}}, nil
		case "behind":
			resp, err := try(m)(ctx, req)
			if err == nil {
				req.Exchange.Content = resp.Body // as the cluster does
			}
			panic("on purpose")
		case "answer":
			return &stream.Response{Status: 200, Body: stream.BytesBody([]byte("no duplex"))}, nil
		}
		return try(m)(ctx, req)
	}), nil)
	good := p.client(t)
	say(t, good, "x")
	for i, c := range []struct {
		first  string
		panics int64
	}{{"serve", 1}, {"write", 2}, {"behind", 3}, {"answer", 3}} {
		nc := p.client(t)
		send(t, nc, c.first)
		send(t, nc, "second")
		if f := p.ended(t).Exchange.Fault; f == nil || f.Kind != stream.Internal || p.Stats.Panics.Load() != c.panics {
			t.Errorf("%s: %v, %d panics", c.first, f, p.Stats.Panics.Load())
		}
		if say(t, good, fmt.Sprint(i)) != fmt.Sprint(i) {
			t.Fatal("another session suffers")
		}
	}
	if n := m.InFlight(); n != 1 {
		t.Errorf("%d in flight, want that of the good session", n)
	}
}

// broken is an upstream that panics on Write.
type broken struct {
	closed chan struct{}
	once   sync.Once
}

func (b *broken) Read([]byte) (int, error)  { <-b.closed; return 0, io.EOF }
func (b *broken) Write([]byte) (int, error) { panic("on purpose") }
func (b *broken) Close() error              { b.once.Do(func() { close(b.closed) }); return nil }
func (b *broken) CloseWrite() error         { return nil }
func (b *broken) Trailer() *stream.Header   { return nil }

func TestDrain(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	nc := p.client(t)
	say(t, nc, "x")
	p.Drain()
	if say(t, nc, "y") != "y" {
		t.Error("a session that is open is served still")
	}
	send(t, p.client(t), "z")
	until(t, "the new client is refused", func() bool { return p.Stats.RefusedDrain.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatal("a silent session held the drain")
	}
	if req := p.ended(t); req.Exchange.Fault != nil || !req.Exchange.Draining {
		t.Errorf("%+v", req.Exchange)
	}
}

func TestContextEndsEverything(t *testing.T) {
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	say(t, p.client(t), "x")
	p.cancel()
	if err := <-p.served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	p.served <- nil
	p.ended(t)
}

// TestSetConfig: sessions that are open keep their service.
func TestSetConfig(t *testing.T) {
	named := func(name string) *member {
		return newMember(upstream(t, func([]byte) []byte { return []byte(name) }).LocalAddr().String(), 0)
	}
	p := start(t, try(named("old")), nil)
	a := p.client(t)
	say(t, a, "?")
	cfg := p.cfg.Load().ServerConfig
	cfg.Service = try(named("new"))
	p.SetConfig(cfg)
	if o, n := say(t, a, "?"), say(t, p.client(t), "?"); o != "old" || n != "new" {
		t.Errorf("the open session has %q, the next %q", o, n)
	}
}

// TestAnyAddress: a socket for all addresses answers from the one that the
// client has written to, and has a session for each.
func TestAnyAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs IP_PKTINFO, and 127.0.0.2")
	}
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	for network, hosts := range map[string][]string{
		"udp4": {"127.0.0.1", "127.0.0.2", "127.1.2.3"},
		"udp":  {"127.0.0.1", "127.0.0.2", "::1"}, // both families
	} {
		pc, err := net.ListenUDP(network, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		p := startOn(t, pc, try(m), nil)
		_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
		locals := map[string]bool{}
		for _, host := range hosts {
			p.address = net.JoinHostPort(host, port)
			nc := p.client(t) // connected: a reply from elsewhere does not reach it
			if say(t, nc, host) != host || say(t, nc, "again") != "again" {
				t.Errorf("%s: another's reply", host)
			}
		}
		for st := range p.Connections {
			locals[st.Facts.Local.String()] = true
		}
		for _, host := range hosts {
			if !locals[net.JoinHostPort(host, port)] {
				t.Errorf("%s: no session of %s, only %v", network, host, locals)
			}
		}
		if p.Stats.Opened.Load() != int64(len(hosts)) {
			t.Errorf("%d sessions", p.Stats.Opened.Load())
		}
	}
}

// TestSameClientTwoAddresses: one client port and two of our addresses are two
// sessions.
func TestSameClientTwoAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs IP_PKTINFO, and 127.0.0.2")
	}
	pc, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	p := startOn(t, pc, try(newMember(upstream(t, echo).LocalAddr().String(), 0)), nil)
	nc, buf := socket(t), make([]byte, 10)
	nc.SetDeadline(time.Now().Add(patience))
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(host), addrPort(pc.LocalAddr()).Port())
		nc.WriteToUDPAddrPort([]byte("x"), to)
		if _, from, err := nc.ReadFromUDPAddrPort(buf); err != nil || from.Addr().Unmap() != to.Addr() {
			t.Errorf("%v answers for %v (%v)", from, to, err)
		}
	}
	if n := p.Stats.Opened.Load(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestDNS(t *testing.T) {
	pc := socket(t)
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.7")
		reply.Answer = append(reply.Answer, rr)
		w.WriteMsg(reply)
	})}
	ready, ended := make(chan struct{}), make(chan struct{})
	server.NotifyStartedFunc = func() { close(ready) }
	go func() { defer close(ended); server.ActivateAndServe() }()
	<-ready
	defer func() { server.Shutdown(); <-ended }()

	p := start(t, try(newMember(pc.LocalAddr().String(), 0)), nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			q := new(dns.Msg).SetQuestion(fmt.Sprintf("host%d.example.", i), dns.TypeA)
			reply, _, err := (&dns.Client{Timeout: patience}).Exchange(q, p.address)
			if err != nil || len(reply.Answer) != 1 || reply.Answer[0].Header().Name != q.Question[0].Name {
				t.Errorf("%v, %v", reply, err)
			}
		})
	}
	wg.Wait()
}

// TestManySessions: each client has its own, at once.
func TestManySessions(t *testing.T) {
	const clients, rounds = 1000, 3
	m := newMember(upstream(t, echo).LocalAddr().String(), 0)
	p := start(t, try(m), nil)
	all := make([]net.Conn, clients)
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for i := part; i < clients; i += 10 {
				all[i] = p.client(t)
				for r := range rounds {
					if text := fmt.Sprint(i, r); say(t, all[i], text) != text {
						t.Errorf("client %d has another's reply", i)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := p.Stats.Open.Load(); n != clients || m.InFlight() != clients {
		t.Errorf("%d sessions, %d in flight", n, m.InFlight())
	}
	p.CloseAll()
	until(t, "all gave back what they had", func() bool {
		return p.Stats.Open.Load() == 0 && m.InFlight() == 0 && m.load.Connections() == 0
	})
	if n := len(p.done); n != clients {
		t.Errorf("%d sessions were recorded", n)
	}
	for i := range p.table.shards {
		if s := &p.table.shards[i]; len(s.sessions)+len(s.clients) != 0 {
			t.Error("the table kept something")
		}
	}
}

func TestClientOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := clientOf(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestAllocsDatagram(t *testing.T) {
	p := start(t, try(newMember(upstream(t, echo).LocalAddr().String(), 0)), nil)
	nc := p.client(t)
	out, in := []byte("x"), make([]byte, 100)
	round := func() {
		nc.Write(out)
		if _, err := nc.Read(in); err != nil {
			t.Fatal(err)
		}
	}
	round()
	// Those of the client, of the upstream and of the proxy together.
	if n := testing.AllocsPerRun(200, round); n > 0.5 {
		t.Errorf("%v allocations for a datagram and its reply", n)
	}
}

func BenchmarkDatagram(b *testing.B) {
	p := start(b, try(newMember(upstream(b, echo).LocalAddr().String(), 0)), nil)
	nc := p.client(b)
	nc.SetDeadline(time.Time{})
	out, in := []byte("hello"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		nc.Write(out)
		if _, err := nc.Read(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	p := start(b, try(newMember(upstream(b, echo).LocalAddr().String(), 0)), func(cfg *ServerConfig) {
		cfg.SessionIdle = 200 * time.Millisecond
		cfg.Done = nil
	})
	out, in := []byte("hello"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		nc, err := net.Dial("udp", p.address)
		if err != nil {
			b.Fatal(err)
		}
		nc.Write(out)
		nc.Read(in)
		nc.Close()
	}
}
