package resolve

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func id(q *dns.Msg) []byte { return binary.BigEndian.AppendUint16(nil, q.Id) }

// toPort sends every question to another port of the same server.
func toPort(port string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, port))
	}
}

// raw is an answer with a body of its own after a good header and question.
func raw(q *dns.Msg, answers uint16, body ...byte) []byte {
	m, err := new(dns.Msg).SetReply(q).Pack()
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint16(m[6:], answers)
	return append(m, body...)
}

// TestHostileAnswers is the row "Name service" of threats.md section 8: none
// of these may give an address, take long or do harm.
func TestHostileAnswers(t *testing.T) {
	good := zone("api.example. 30 IN A 192.0.2.1")
	one := func(b []byte) [][]byte { return [][]byte{b} }
	edit := func(change func(a *dns.Msg)) func(string, *dns.Msg) [][]byte {
		return func(network string, q *dns.Msg) [][]byte {
			a := new(dns.Msg)
			if err := a.Unpack(good(network, q)[0]); err != nil {
				panic(err)
			}
			change(a)
			return packed(a)
		}
	}
	for _, tt := range []struct {
		name  string
		reply func(string, *dns.Msg) [][]byte
		want  Failure
	}{
		{"compression loop to itself", func(_ string, q *dns.Msg) [][]byte {
			at := 12 + len(q.Question[0].Name) + 1 + 4
			return one(raw(q, 1, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1))
		}, Malformed},
		{"compression loop of two", func(_ string, q *dns.Msg) [][]byte {
			at := byte(12 + len(q.Question[0].Name) + 1 + 4)
			return one(raw(q, 1, 1, 'a', 0xc0, at+4, 1, 'b', 0xc0, at, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1))
		}, Malformed},
		{"pointer behind the end", func(_ string, q *dns.Msg) [][]byte { return one(raw(q, 1, 0xff, 0xff, 0, 1)) }, Malformed},
		{"label without an end", func(_ string, q *dns.Msg) [][]byte { return one(raw(q, 1, 63, 'a')) }, Malformed},
		{"65535 records announced", func(_ string, q *dns.Msg) [][]byte { return one(raw(q, 65535)) }, NotFound},
		{"record longer than the message", func(_ string, q *dns.Msg) [][]byte {
			return one(raw(q, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0xff, 0xff, 192, 0, 2, 1))
		}, Malformed},
		{"address of three bytes", func(_ string, q *dns.Msg) [][]byte {
			return one(raw(q, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 3, 192, 0, 2))
		}, Malformed},
		{"address of another name", edit(func(a *dns.Msg) { a.Answer[0].Header().Name = "evil.example." }), NotFound},
		{"address of another class", edit(func(a *dns.Msg) { a.Answer[0].Header().Class = dns.ClassCHAOS }), NotFound},
		{"only in the additional section", edit(func(a *dns.Msg) { a.Extra, a.Answer = a.Answer, nil }), NotFound},
		{"another id", edit(func(a *dns.Msg) { a.Id++ }), NoAnswer},
		{"another question", edit(func(a *dns.Msg) { a.Question[0].Name = "evil.example." }), NoAnswer},
		{"another type", edit(func(a *dns.Msg) { a.Question[0].Qtype = dns.TypeTXT }), NoAnswer},
		{"no question", edit(func(a *dns.Msg) { a.Question = nil }), NoAnswer},
		{"a question instead of an answer", edit(func(a *dns.Msg) { a.Response = false }), NoAnswer},
		{"another opcode", edit(func(a *dns.Msg) { a.Opcode = dns.OpcodeUpdate }), NoAnswer},
		{"empty packet", func(string, *dns.Msg) [][]byte { return one(nil) }, NoAnswer},
		{"short packet", func(_ string, q *dns.Msg) [][]byte { return one(id(q)) }, NoAnswer},
		{"huge packet", func(_ string, q *dns.Msg) [][]byte { return one(append(raw(q, 9), make([]byte, 20000)...)) }, NotFound},
		{"a flood of guesses", func(_ string, q *dns.Msg) [][]byte {
			var guesses [][]byte
			for i := range uint16(2 * maxStrange) {
				guess := raw(q, 0)
				binary.BigEndian.PutUint16(guess, q.Id+1+i)
				guesses = append(guesses, guess)
			}
			return guesses
		}, Malformed},
		{"truncated over TCP", edit(func(a *dns.Msg) { a.Truncated = true }), Malformed},
		{"silence", silent, NoAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := &fakeDNS{reply: tt.reply}
			r := newResolver(t, Config{Servers: []string{server.listen(t)}, Family: "ipv4"})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			addrs, _, err := r.Lookup(ctx, Name{Host: "api.example"}, nil)
			if len(addrs) != 0 || err == nil {
				t.Fatalf("%q, %v", short(addrs), err)
			}
			if n := r.Stats.Failed[tt.want].Load(); n == 0 || r.Stats.Panics.Load() != 0 {
				t.Errorf("%v is not counted, %d panics: %v", tt.want, r.Stats.Panics.Load(), err)
			}
		})
	}
}

// TestGuessesAreIgnored: the answer behind some wrong ones is found.
func TestGuessesAreIgnored(t *testing.T) {
	good := zone("api.example. 30 IN A 192.0.2.1")
	evil := zone("api.example. 30 IN A 203.0.113.6")
	server := &fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
		guess := evil(network, q)[0]
		guess[0]++
		return [][]byte{guess, []byte("noise"), good(network, q)[0]}
	}}
	r := newResolver(t, Config{Servers: []string{server.listen(t)}, Family: "ipv4"})
	addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil)
	if short(addrs) != "192.0.2.1" || err != nil || r.Stats.Strange.Load() != 2 {
		t.Errorf("%q, %v, %d strange packets", short(addrs), err, r.Stats.Strange.Load())
	}
}

// TestLongAnswers: what does not fit comes over TCP, and no answer gives more
// addresses than the bound.
func TestLongAnswers(t *testing.T) {
	for _, n := range []int{100, 3 * maxAddrs} {
		var records []string
		for i := range n {
			records = append(records, fmt.Sprintf("api.example. 30 IN A 10.0.%d.%d", i/256, i%256))
		}
		all := zone(records...)
		server := &fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
			a := new(dns.Msg)
			if err := a.Unpack(all(network, q)[0]); err != nil {
				panic(err)
			}
			a.Compress = true
			if network == "udp" {
				a.Truncate(udpSize)
			}
			return packed(a)
		}}
		r := newResolver(t, Config{Servers: []string{server.listen(t)}, Family: "ipv4"})
		addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil)
		if len(addrs) != min(n, maxAddrs) || err != nil || r.Stats.Truncated.Load() != 1 {
			t.Errorf("%d addresses of %d, %v, %d over TCP", len(addrs), n, err, r.Stats.Truncated.Load())
		}
	}
}

// TestBeforeEDNS: a server that does not know EDNS is asked without.
func TestBeforeEDNS(t *testing.T) {
	good := zone("api.example. 30 IN A 192.0.2.1")
	server := &fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
		if q.IsEdns0() != nil {
			a := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			a.Question = nil
			return packed(a)
		}
		return good(network, q)
	}}
	r := newResolver(t, Config{Servers: []string{server.listen(t)}, Family: "ipv4"})
	addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil)
	if short(addrs) != "192.0.2.1" || err != nil {
		t.Errorf("%q, %v", short(addrs), err)
	}
}

// TestManyTargets: the number of SRV targets that are asked for is bounded.
func TestManyTargets(t *testing.T) {
	var records []string
	for i := range 2 * maxTargets {
		records = append(records, fmt.Sprintf("_x._tcp.example. 30 IN SRV 1 1 80 t%d.example.", i), fmt.Sprintf("t%d.example. 30 IN A 10.0.%d.%d", i, i/256, i%256))
	}
	all := zone(records...)
	server := &fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
		a := new(dns.Msg)
		if err := a.Unpack(all(network, q)[0]); err != nil {
			panic(err)
		}
		if network == "udp" {
			a.Truncate(udpSize)
		}
		return packed(a)
	}}
	r := newResolver(t, Config{Servers: []string{server.listen(t)}, Family: "ipv4"})
	addrs, _, err := r.Lookup(t.Context(), Name{Host: "_x._tcp.example", SRV: true}, nil)
	if len(addrs) != maxTargets || err != nil || r.Stats.Dropped.Load() != maxTargets {
		t.Errorf("%d addresses, %v, %d dropped", len(addrs), err, r.Stats.Dropped.Load())
	}
}

// TestTooManyAddressesOfSRV: those that there is no place for are the ones to be used
// last, whatever their names are.
func TestTooManyAddressesOfSRV(t *testing.T) {
	var all []Addr
	for i := range 2 * maxAddrs {
		a := Addr{IP: netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)}), Port: 80, Host: "a-backup.example", Weight: 1, Priority: 1}
		if i%2 == 1 {
			a.Host, a.Priority = "main.example", 0
		}
		all = append(all, a)
	}
	r := newResolver(t, Config{Servers: []string{"127.0.0.1:53"}})
	kept := r.inOrder(all)
	if len(kept) != maxAddrs || r.Stats.Dropped.Load() != maxAddrs {
		t.Errorf("%d addresses, %d dropped", len(kept), r.Stats.Dropped.Load())
	}
	for _, a := range kept {
		if a.Priority != 0 {
			t.Fatalf("%v of priority %d is kept in the place of one that comes first", a.IP, a.Priority)
		}
	}
}

// FuzzAnswer: whatever a server sends, the result is addresses of the name
// that was asked for, or an error. The id and the question are made to fit, so
// that the bytes reach what is behind these checks.
func FuzzAnswer(f *testing.F) {
	ask := new(dns.Msg).SetQuestion("api.example.", dns.TypeA)
	for _, reply := range []func(string, *dns.Msg) [][]byte{
		zone("api.example. 30 IN A 192.0.2.1"),
		zone("api.example. 0 IN CNAME www.example.", "www.example. 4294967295 IN A 192.0.2.1"),
		zone("api.example. 30 IN SRV 1 1 80 x.example."),
		code(dns.RcodeServerFailure),
	} {
		f.Add(reply("udp", ask)[0], false)
	}
	f.Add(raw(ask, 1, 0xc0, 29, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1), true)
	f.Fuzz(func(t *testing.T, message []byte, srv bool) {
		server := &fakeDNS{closes: true, reply: func(_ string, q *dns.Msg) [][]byte {
			answer := bytes.Clone(message)
			if len(answer) >= 2 {
				binary.BigEndian.PutUint16(answer, q.Id)
			}
			return [][]byte{answer, answer}
		}}
		r := newResolver(t, Config{Servers: []string{"192.0.2.53"}, Family: "ipv4", Dial: server.dial})
		addrs, ttl, err := r.Lookup(t.Context(), Name{Host: "api.example", SRV: srv}, nil)
		if (err == nil) != (len(addrs) > 0) || r.Stats.Panics.Load() != 0 {
			t.Fatalf("%v, %v, %d panics", addrs, err, r.Stats.Panics.Load())
		}
		for _, a := range addrs {
			if !a.IP.IsValid() || a.IP.IsUnspecified() || a.Weight < 1 || strings.ContainsAny(a.Host, "\x00\\ ") || ttl < r.min || ttl > r.max {
				t.Fatalf("%+v for %v", a, ttl)
			}
		}
	})
}
