package resolve

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDNS answers with what reply returns: the messages to send back, none of
// them: silence.
type fakeDNS struct {
	reply func(network string, q *dns.Msg) [][]byte // under mu once it serves

	closes bool // a connection after its answers, instead of being silent

	mu    sync.Mutex
	asked []string // "A api.example."
	ids   map[uint16]bool
}

func (f *fakeDNS) handle(network string, message []byte) [][]byte {
	q := new(dns.Msg)
	if err := q.Unpack(message); err != nil || len(q.Question) != 1 {
		return nil
	}
	f.mu.Lock()
	f.asked = append(f.asked, dns.TypeToString[q.Question[0].Qtype]+" "+q.Question[0].Name)
	if f.ids == nil {
		f.ids = map[uint16]bool{}
	}
	f.ids[q.Id] = true
	reply := f.reply
	f.mu.Unlock()
	return reply(network, q)
}

// say changes what it answers.
func (f *fakeDNS) say(reply func(string, *dns.Msg) [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply = reply
}

// differentIDs is how many ids the questions so far had.
func (f *fakeDNS) differentIDs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// questions is what was asked so far, sorted, and forgets it.
func (f *fakeDNS) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	slices.Sort(asked)
	return asked
}

// listen serves on loopback, UDP and TCP on the same port.
func (f *fakeDNS) listen(t testing.TB) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		ln.Close()
		t.Skipf("the UDP port of %v is taken: %v", ln.Addr(), err)
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		packet := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(packet)
			if err != nil {
				return
			}
			for _, answer := range f.handle("udp", packet[:n]) {
				pc.WriteTo(answer, from)
			}
		}
	})
	ended.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			ended.Go(func() { f.serveTCP(nc) })
		}
	})
	t.Cleanup(func() {
		pc.Close()
		ln.Close()
		ended.Wait()
	})
	return ln.Addr().String()
}

func (f *fakeDNS) serveTCP(nc net.Conn) {
	defer nc.Close()
	var length [2]byte
	if _, err := io.ReadFull(nc, length[:]); err != nil {
		return
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(nc, message); err != nil {
		return
	}
	for _, answer := range f.handle("tcp", message) {
		nc.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

// dial is a way to the server without sockets, for synctest.
func (f *fakeDNS) dial(_ context.Context, network, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if network == "tcp" {
			f.serveTCP(far)
			return
		}
		packet := make([]byte, 4096)
		n, err := far.Read(packet)
		if err != nil {
			return
		}
		for _, answer := range f.handle("udp", packet[:n]) {
			far.Write(answer)
		}
		if !f.closes {
			far.Read(packet) // silence until the resolver closes
		}
	}()
	return near, nil
}

// zone answers with records in the text form of a zone file. A name without
// records of the type has no data; a name without any does not exist.
func zone(records ...string) func(string, *dns.Msg) [][]byte {
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		all = append(all, rr)
	}
	return func(_ string, q *dns.Msg) [][]byte {
		a := new(dns.Msg).SetReply(q)
		exists, name := false, q.Question[0].Name
		for range 20 {
			var alias string
			for _, rr := range all {
				if !strings.EqualFold(rr.Header().Name, name) {
					continue
				}
				exists = true
				if rr.Header().Rrtype == q.Question[0].Qtype {
					a.Answer = append(a.Answer, rr)
				} else if c, ok := rr.(*dns.CNAME); ok && alias == "" {
					a.Answer, alias = append(a.Answer, rr), c.Target
				}
			}
			if alias == "" {
				break
			}
			name = alias
		}
		if !exists {
			a.Rcode = dns.RcodeNameError
		}
		if len(a.Answer) == 0 || a.Answer[len(a.Answer)-1].Header().Rrtype != q.Question[0].Qtype {
			soa, _ := dns.NewRR("example. 60 IN SOA ns.example. root.example. 1 2 3 4 5")
			a.Ns = append(a.Ns, soa)
		}
		return packed(a)
	}
}

func packed(messages ...*dns.Msg) [][]byte {
	var out [][]byte
	for _, m := range messages {
		b, err := m.Pack()
		if err != nil {
			panic(err)
		}
		out = append(out, b)
	}
	return out
}

// code answers every question with a response code.
func code(rcode int) func(string, *dns.Msg) [][]byte {
	return func(_ string, q *dns.Msg) [][]byte { return packed(new(dns.Msg).SetRcode(q, rcode)) }
}

func silent(string, *dns.Msg) [][]byte { return nil }

func newResolver(t testing.TB, cfg Config) *Resolver {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "nothing")
	if cfg.Hosts == "" {
		cfg.Hosts = nowhere
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = nowhere
	}
	if cfg.MaxTTL == 0 {
		cfg.MinTTL, cfg.MaxTTL = 5*time.Second, 10*time.Minute
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// short is a list of addresses as a test writes it.
func short(addrs []Addr) string {
	var list []string
	for _, a := range addrs {
		text := a.IP.String()
		if a.Port != 0 {
			text = fmt.Sprintf("%s=%s*%d", a.Host, net.JoinHostPort(text, fmt.Sprint(a.Port)), a.Weight)
		}
		if a.Priority != 0 {
			text += fmt.Sprint("!", a.Priority)
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}
