package resolve

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestLookup(t *testing.T) {
	server := &fakeDNS{reply: zone(
		"api.example. 30 IN A 192.0.2.2", "api.example. 20 IN A 192.0.2.1", "api.example. 40 IN AAAA 2001:db8::1",
		"four.example. 100000 IN A 192.0.2.4",
		"six.example. 0 IN AAAA 2001:db8::6",
		"www.example. 15 IN CNAME API.example.", "far.example. 60 IN CNAME www.example.",
		"a.loop.example. 60 IN CNAME b.loop.example.", "b.loop.example. 60 IN CNAME a.loop.example.",
		"dangling.example. 60 IN CNAME nothing.example.",
		"blocked.example. 60 IN A 0.0.0.0", "half.example. 60 IN A 0.0.0.0", "half.example. 60 IN A 192.0.2.5", "cast.example. 60 IN A 224.0.0.1",
		"text.example. 60 IN TXT hello",
		"mapped.example. 60 IN AAAA ::ffff:192.0.2.9",

		"_http._tcp.api.example. 50 IN SRV 10 60 8080 a.example.", "_http._tcp.api.example. 50 IN SRV 10 0 8081 B.example.",
		"_http._tcp.api.example. 50 IN SRV 20 1 9090 backup.example.",
		"a.example. 25 IN A 192.0.2.10", "a.example. 25 IN A 192.0.2.11", "b.example. 30 IN AAAA 2001:db8::b", "backup.example. 30 IN A 192.0.2.99",
		"_fall._tcp.example. 50 IN SRV 1 1 80 gone.example.", "_fall._tcp.example. 50 IN SRV 2 1 80 backup.example.",
		"_none._tcp.example. 50 IN SRV 0 0 0 .",
		"_odd._tcp.example. 50 IN SRV 1 1 80 x\\000y.example.", "_odd._tcp.example. 50 IN SRV 1 1 80 192.0.2.77.",
	)}
	address := server.listen(t)
	for _, tt := range []struct {
		name   string
		srv    bool
		family string
		want   string
		ttl    time.Duration
		err    string
	}{
		{name: "api.example", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 20 * time.Second},
		{name: "API.Example.", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 20 * time.Second},
		{name: "api.example", family: "ipv4", want: "192.0.2.1 192.0.2.2", ttl: 20 * time.Second},
		{name: "api.example", family: "ipv6", want: "2001:db8::1", ttl: 40 * time.Second},
		{name: "four.example", want: "192.0.2.4", ttl: 10 * time.Minute},
		{name: "six.example", want: "2001:db8::6", ttl: 5 * time.Second},
		{name: "six.example", family: "ipv4", err: "A records of six.example.: not_found"},
		{name: "far.example", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 15 * time.Second},
		{name: "a.loop.example", err: "not_found"}, // the fake server ends the loop with a SOA
		{name: "dangling.example", err: "not_found"},
		{name: "nothing.example", err: "not_found"},
		{name: "blocked.example", err: "none is an address to connect to"},
		{name: "cast.example", err: "none is an address to connect to"},
		{name: "half.example", want: "192.0.2.5", ttl: time.Minute},
		{name: "text.example", err: "not_found"},
		{name: "mapped.example", want: "192.0.2.9", ttl: time.Minute},
		{name: "192.0.2.1", want: "192.0.2.1", ttl: 10 * time.Minute},
		{name: "[2001:db8::1]", want: "2001:db8::1", ttl: 10 * time.Minute},
		{name: "localhost", want: "127.0.0.1 ::1", ttl: 5 * time.Second},
		{name: "App.localhost", family: "ipv4", want: "127.0.0.1", ttl: 5 * time.Second},
		{name: "a b", err: "not a name that a host can have"},
		{name: strings.Repeat("x", 64) + ".example", err: "not a name that a host can have"},
		{name: "", err: "not a name that a host can have"},

		{name: "_http._tcp.api.example", srv: true, want: "a.example=192.0.2.10:8080*60 a.example=192.0.2.11:8080*60 b.example=[2001:db8::b]:8081*1 backup.example=192.0.2.99:9090*1!1", ttl: 25 * time.Second},
		{name: "_fall._tcp.example", srv: true, want: "backup.example=192.0.2.99:80*1!1", ttl: 30 * time.Second},
		{name: "_none._tcp.example", srv: true, err: "no usable target"},
		{name: "_odd._tcp.example", srv: true, want: "192.0.2.77=192.0.2.77:80*1", ttl: 50 * time.Second},
		{name: "_gone._tcp.example", srv: true, err: "SRV records of _gone._tcp.example.: not_found"},
	} {
		r := newResolver(t, Config{Servers: []string{address}, Family: tt.family})
		addrs, ttl, err := r.Lookup(t.Context(), Name{Host: tt.name, SRV: tt.srv}, nil)
		if got := short(addrs); got != tt.want || (err == nil) != (tt.err == "") {
			t.Errorf("%q %s: %q (%v), want %q", tt.name, tt.family, got, err, tt.want)
			continue
		}
		if err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.name, err, tt.err)
		}
		if err == nil && ttl != tt.ttl {
			t.Errorf("%q: holds for %v, want %v", tt.name, ttl, tt.ttl)
		}
	}
	if n := server.differentIDs(); n < 20 {
		t.Errorf("%d different ids: they are not random", n)
	}
}

func TestNextServer(t *testing.T) {
	good := (&fakeDNS{reply: zone("api.example. 30 IN A 192.0.2.1")}).listen(t)
	for name, bad := range map[string]func(string, *dns.Msg) [][]byte{
		"SERVFAIL": code(dns.RcodeServerFailure),
		"REFUSED":  code(dns.RcodeRefused),
		"garbage":  func(_ string, q *dns.Msg) [][]byte { return [][]byte{raw(q, 1, 63, 'a')} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newResolver(t, Config{Servers: []string{(&fakeDNS{reply: bad}).listen(t), good}, Family: "ipv4"})
			addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil)
			if short(addrs) != "192.0.2.1" || err != nil {
				t.Errorf("%q, %v", short(addrs), err)
			}
		})
	}
	t.Run("the name does not exist", func(t *testing.T) {
		r := newResolver(t, Config{Servers: []string{(&fakeDNS{reply: zone()}).listen(t), good}, Family: "ipv4"})
		if addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil); !notFound(err) {
			t.Errorf("%q, %v: an answer is an answer", short(addrs), err)
		}
	})
}

// TestOneFamilyFails: what could not be asked keeps its last addresses, what
// was answered does not.
func TestOneFamilyFails(t *testing.T) {
	good := zone("api.example. 30 IN A 192.0.2.1")
	server := &fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
		if q.Question[0].Qtype == dns.TypeAAAA {
			return code(dns.RcodeServerFailure)(network, q)
		}
		return good(network, q)
	}}
	r := newResolver(t, Config{Servers: []string{server.listen(t)}})
	var last []Addr
	for _, ip := range []string{"192.0.2.9", "2001:db8::9"} {
		literal, _, err := r.Lookup(t.Context(), Name{Host: ip}, nil)
		if err != nil {
			t.Fatal(err)
		}
		literal[0].Host = "api.example"
		last = append(last, literal...)
	}
	addrs, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, last)
	if short(addrs) != "192.0.2.1 2001:db8::9" || err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("%q, %v", short(addrs), err)
	}
}

// TestAliasWithoutTarget: a server that knows the alias only is asked for its
// target, too; a chain without end ends.
func TestAliasWithoutTarget(t *testing.T) {
	records := zone("www.example. 30 IN CNAME api.example.", "api.example. 30 IN A 192.0.2.1")
	r := newResolver(t, Config{Servers: []string{(&fakeDNS{reply: func(network string, q *dns.Msg) [][]byte {
		a := new(dns.Msg)
		if err := a.Unpack(records(network, q)[0]); err != nil {
			panic(err)
		}
		a.Answer = a.Answer[:1]
		return packed(a)
	}}).listen(t)}, Family: "ipv4"})
	addrs, _, err := r.Lookup(t.Context(), Name{Host: "www.example"}, nil)
	if short(addrs) != "192.0.2.1" || err != nil || addrs[0].Host != "www.example" {
		t.Errorf("%q, %v", short(addrs), err)
	}
	endless := &fakeDNS{reply: func(_ string, q *dns.Msg) [][]byte {
		a := new(dns.Msg).SetReply(q)
		a.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "x." + q.Question[0].Name}}
		return packed(a)
	}}
	r = newResolver(t, Config{Servers: []string{endless.listen(t)}, Family: "ipv4"})
	if _, _, err := r.Lookup(t.Context(), Name{Host: "www.example"}, nil); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("an endless chain: %v", err)
	}
	if n := len(endless.questions()); n > maxChain {
		t.Errorf("%d questions", n)
	}
}

func TestSearchList(t *testing.T) {
	server := &fakeDNS{reply: zone(
		"api.pay.svc.cluster.local. 30 IN A 10.0.0.1", "api.svc.cluster.local. 30 IN A 10.0.0.2", "example.com. 30 IN A 192.0.2.1")}
	address := server.listen(t)
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	host, port, _ := strings.Cut(address, ":")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver " + host + "\nsearch pay.svc.cluster.local svc.cluster.local\noptions ndots:5 attempts:1\n")
	r := newResolver(t, Config{ResolvConf: conf, Family: "ipv4", Dial: toPort(port)})
	for _, tt := range []struct{ name, want, asked string }{
		{"api", "10.0.0.1", "A api.pay.svc.cluster.local."},
		{"example.com", "192.0.2.1", "A example.com. A example.com.pay.svc.cluster.local. A example.com.svc.cluster.local."},
		{"example.com.", "192.0.2.1", "A example.com."},
	} {
		addrs, _, err := r.Lookup(t.Context(), Name{Host: tt.name}, nil)
		if asked := strings.Join(server.questions(), " "); short(addrs) != tt.want || err != nil || asked != tt.asked {
			t.Errorf("%s: %q (%v), asked %s", tt.name, short(addrs), err, asked)
		}
	}
	t.Run("an outage does not find another host of that name", func(t *testing.T) {
		good := zone("api.svc.cluster.local. 30 IN A 10.0.0.2")
		server.say(func(network string, q *dns.Msg) [][]byte {
			if strings.HasPrefix(q.Question[0].Name, "api.pay.") {
				return code(dns.RcodeServerFailure)(network, q)
			}
			return good(network, q)
		})
		addrs, _, err := r.Lookup(t.Context(), Name{Host: "api"}, nil)
		if len(addrs) != 0 || err == nil || notFound(err) {
			t.Errorf("%q, %v", short(addrs), err)
		}
		server.say(good)
	})
	t.Run("the file changes", func(t *testing.T) {
		write("nameserver " + host + "\nsearch svc.cluster.local\n")
		addrs, _, err := r.Lookup(t.Context(), Name{Host: "api"}, nil)
		if short(addrs) != "10.0.0.2" || err != nil {
			t.Errorf("%q, %v", short(addrs), err)
		}
	})
}

func TestHostsFile(t *testing.T) {
	server := &fakeDNS{reply: zone("other.example. 30 IN A 192.0.2.1", "api.example. 30 IN A 192.0.2.1")}
	hosts := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# comment\n10.0.0.1 API.example api # more\n::1 api.example\nnonsense\n10.0.0.2\n127.0.1.1 localhost\n")
	r := newResolver(t, Config{Hosts: hosts, Servers: []string{server.listen(t)}})
	look := func(name, want string) {
		t.Helper()
		addrs, _, err := r.Lookup(t.Context(), Name{Host: name}, nil)
		if short(addrs) != want || err != nil {
			t.Errorf("%s: %q (%v), want %q", name, short(addrs), err, want)
		}
	}
	look("api.example", "10.0.0.1 ::1")
	look("Api.Example.", "10.0.0.1 ::1")
	look("api", "10.0.0.1")
	look("localhost", "127.0.1.1")
	look("other.example", "192.0.2.1")
	write("10.0.0.3 other.example with-a-line-of-another-length\n")
	look("other.example", "10.0.0.3")
	look("localhost", "127.0.0.1 ::1")
	if err := os.Remove(hosts); err != nil {
		t.Fatal(err)
	}
	look("other.example", "192.0.2.1")
	if asked := server.questions(); slices.Contains(asked, "A api.example.") || slices.Contains(asked, "A localhost.") {
		t.Errorf("asked %v", asked)
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	for _, cfg := range []Config{
		{Family: "ipv5"}, {Servers: []string{"dns.example:53"}}, {Servers: []string{""}}, {Servers: []string{"192.0.2.1:0"}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1:53", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353"} {
		if got, err := serverAddress(text); got != want || err != nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

func TestErrorsSayWhatWasAsked(t *testing.T) {
	server := (&fakeDNS{reply: code(dns.RcodeRefused)}).listen(t)
	r := newResolver(t, Config{Servers: []string{server}, Family: "ipv4"})
	_, _, err := r.Lookup(t.Context(), Name{Host: "api.example"}, nil)
	want := "A records of api.example.: server_error from " + server + ": it says REFUSED"
	var e *lookupError
	if !errors.As(err, &e) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if r.Stats.Failed[ServerError].Load() != 2 || r.Stats.Questions.Load() != 2 {
		t.Errorf("%d failures, %d questions", r.Stats.Failed[ServerError].Load(), r.Stats.Questions.Load())
	}
}
