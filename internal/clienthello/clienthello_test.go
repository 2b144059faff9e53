package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// script is a connection that reads from in and keeps what is written.
type script struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)      { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)     { return s.out.Write(p) }
func (s *script) Close() error                    { return nil }
func (s *script) SetDeadline(time.Time) error     { return nil }
func (s *script) SetReadDeadline(time.Time) error { return nil }

// generate is a hello as crypto/tls writes it: one record.
func generate(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	nc := &script{in: strings.NewReader("")}
	if err := tls.Client(nc, cfg).Handshake(); err == nil {
		t.Fatal("a handshake with nobody succeeded")
	}
	return nc.out.Bytes()
}

// oracle is what crypto/tls, as a server, reads out of b.
func oracle(b []byte) (hello stream.Hello, read bool) {
	stop := errors.New("stop")
	nc := &script{in: bytes.NewReader(b)}
	_ = tls.Server(nc, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello, read = stream.Hello{ServerName: h.ServerName, ALPN: h.SupportedProtos}, true
		return nil, stop
	}}).Handshake()
	return hello, read
}

// fragment writes the message in b, one record, as records of size() bytes.
func fragment(b []byte, size func() int) []byte {
	var out []byte
	for rest := b[recordHeader:]; len(rest) > 0; {
		n := min(max(size(), 1), len(rest))
		out = append(out, recordHandshake, b[1], b[2], byte(n>>8), byte(n))
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	return out
}

func configs() []*tls.Config {
	long := make([]string, 200)
	for i := range long {
		long[i] = strings.Repeat("p", 10)
	}
	return []*tls.Config{
		{ServerName: "shop.example.com", NextProtos: []string{"h2", "http/1.1"}},
		{ServerName: "UPPER.Example.com."},
		{InsecureSkipVerify: true},
		{ServerName: "a.example", MaxVersion: tls.VersionTLS12},
		{ServerName: "b.example", NextProtos: long},
	}
}

func TestParseEveryFragmentation(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, cfg := range configs() {
		whole := generate(t, cfg)
		want := stream.Hello{ServerName: strings.TrimSuffix(strings.ToLower(cfg.ServerName), "."), ALPN: cfg.NextProtos}
		cases := map[string][]byte{"one record": whole}
		for name, size := range map[string]func() int{
			"1 byte each": func() int { return 1 }, "2": func() int { return 2 }, "3": func() int { return 3 },
			"5": func() int { return 5 }, "100": func() int { return 100 },
			"by chance": func() int { return random.IntN(60) },
		} {
			cases[name] = fragment(whole, size)
		}
		for name, b := range cases {
			var p Parser
			for n := range b {
				if hello, state := p.Parse(b[:n]); state != More || hello.ServerName != "" || hello.ALPN != nil {
					t.Fatalf("%s, %s: %v (%v) with %d of %d bytes", cfg.ServerName, name, state, hello, n, len(b))
				}
			}
			got, state := p.Parse(append(b, "early data follows in a record of its own"...))
			if state != Complete || got.ServerName != want.ServerName || !slices.Equal(got.ALPN, want.ALPN) {
				t.Errorf("%s, %s: %v, %v", cfg.ServerName, name, state, got)
			}
			if hello, read := oracle(b); !read || strings.ToLower(hello.ServerName) != want.ServerName {
				t.Errorf("%s, %s: crypto/tls reads %v (%v)", cfg.ServerName, name, hello, read)
			}
		}
	}
}

// extension is one extension on the wire.
func extension(kind int, data string) string {
	return string([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}) + data
}

func list(size int, data string) string {
	if size == 1 {
		return string([]byte{byte(len(data))}) + data
	}
	return string([]byte{byte(len(data) >> 8), byte(len(data))}) + data
}

func sni(name string) string { return extension(0, list(2, "\x00"+list(2, name))) }

func alpn(names ...string) string {
	all := ""
	for _, n := range names {
		all += list(1, n)
	}
	return extension(16, list(2, all))
}

const fixed = "\x03\x03" + "0123456789abcdef0123456789abcdef" + "\x00" + "\x00\x02\x13\x01" + "\x01\x00"

// record is a hello with this body.
func record(body string) string {
	message := "\x01" + string([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}) + body
	return "\x16\x03\x01" + list(2, message)
}

func TestParse(t *testing.T) {
	with := func(extensions string) string { return record(fixed + list(2, extensions)) }
	cases := []struct {
		name, in string
		state    State
		host     string
		alpn     []string
	}{
		{"nothing", "", More, "", nil},
		{"first byte", "\x16", More, "", nil},
		{"http", "GET / HTTP/1.1\r\n", NotTLS, "", nil},
		{"SSL 2", "\x80\x2e\x01\x03\x01", NotTLS, "", nil},
		{"SSH", "SSH-2.0-x\r\n", NotTLS, "", nil},
		{"no TLS version", "\x16\x10\x00\x00\x05", NotTLS, "", nil},
		{"another TLS version", "\x16\x02\x00\x00\x05", Malformed, "", nil},
		{"empty record", "\x16\x03\x01\x00\x00", Malformed, "", nil},
		{"server hello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", Malformed, "", nil},
		{"alert", "\x15\x03\x01\x00\x02\x01\x00", NotTLS, "", nil},
		{"without extensions", record(fixed), Complete, "", nil},
		{"no extension", with(""), Complete, "", nil},
		{"name and protocols", with(sni("a.b") + alpn("h2", "x")), Complete, "a.b", []string{"h2", "x"}},
		{"upper case, dot", with(sni("A.b.")), Complete, "a.b", nil},
		{"an address", with(sni("10.0.0.1")), Complete, "10.0.0.1", nil},
		{"other extensions", with(extension(13, "abc") + sni("a.b") + extension(51, "")), Complete, "a.b", nil},
		{"GREASE", with(extension(0x0a0a, "") + sni("a.b")), Complete, "a.b", nil},
		{"two name extensions", with(sni("a.b") + sni("c.d")), Malformed, "", nil},
		{"two names", with(extension(0, list(2, "\x00"+list(2, "a.b")+"\x00"+list(2, "c.d")))), Malformed, "", nil},
		{"another type of name", with(extension(0, list(2, "\x01"+list(2, "a.b")))), Malformed, "", nil},
		{"empty name", with(sni("")), Malformed, "", nil},
		{"dot", with(sni(".")), Malformed, "", nil},
		{"empty list of names", with(extension(0, list(2, ""))), Malformed, "", nil},
		{"empty name extension", with(extension(0, "")), Malformed, "", nil},
		{"name with NUL", with(sni("a.b\x00.c")), Malformed, "", nil},
		{"name with space", with(sni("a b")), Malformed, "", nil},
		{"name with slash", with(sni("a/b")), Malformed, "", nil},
		{"name with port", with(sni("a.b:443")), Malformed, "", nil},
		{"name with colon", with(sni("a.b:")), Malformed, "", nil},
		{"IPv6 address", with(sni("[::1]")), Malformed, "", nil},
		{"wildcard", with(sni("*.b")), Malformed, "", nil},
		{"not ASCII", with(sni("ä.b")), Malformed, "", nil},
		{"empty label", with(sni("a..b")), Malformed, "", nil},
		{"long name", with(sni(strings.Repeat("a.", 127) + "a")), Malformed, "", nil},
		{"bytes behind the name", with(extension(0, list(2, "\x00"+list(2, "a.b"))+"x")), Malformed, "", nil},
		{"name longer than its list", with(extension(0, "\x00\x06\x00\x00\x09a.b")), Malformed, "", nil},
		{"empty protocol", with(alpn("h2", "")), Malformed, "", nil},
		{"no protocols", with(alpn()), Malformed, "", nil},
		{"protocols twice", with(alpn("h2") + alpn("http/1.1")), Malformed, "", nil},
		{"extension too long", with("\x00\x17\x00\x09abc"), Malformed, "", nil},
		{"half an extension", with(sni("a.b") + "\x00"), Malformed, "", nil},
		{"bytes behind the extensions", record(fixed + list(2, sni("a.b")) + "x"), Malformed, "", nil},
		{"extensions cut", record(fixed + "\x00\x20" + sni("a.b")), Malformed, "", nil},
		{"long session", record("\x03\x03" + fixed[2:34] + "\x21" + strings.Repeat("s", 33) + fixed[35:]), Malformed, "", nil},
		{"no suites", record(fixed[:35] + "\x00\x00\x01\x00"), Malformed, "", nil},
		{"odd suites", record(fixed[:35] + "\x00\x03abc\x01\x00"), Malformed, "", nil},
		{"no compression", record(fixed[:39] + "\x00"), Malformed, "", nil},
		{"version 2", record("\x02" + fixed[1:]), Malformed, "", nil},
		{"short", record("\x03\x03abc"), Malformed, "", nil},
		{"a message behind it", "\x16\x03\x01" + list(2, with(sni("a.b"))[5:]+"\x0b"), Malformed, "", nil},
		{"an alert inside", "\x16\x03\x01\x00\x02\x01\x00\x15\x03\x01\x00\x02\x01\x00", Malformed, "", nil},
		{"an empty fragment", "\x16\x03\x01\x00\x02\x01\x00\x16\x03\x01\x00\x00", Malformed, "", nil},
		{"another version inside", "\x16\x03\x01\x00\x02\x01\x00\x16\x02\x01\x00\x01", Malformed, "", nil},
		{"large record", "\x16\x03\x01\x00\x02\x01\x00\x16\x03\x01\x40\x01", Malformed, "", nil},
		{"large message", "\x16\x03\x01\x00\x05\x01\x00\x40\x00\x03", Malformed, "", nil},
		{"largest message, so far", "\x16\x03\x01\x00\x05\x01\x00\x3f\xfc\x03", More, "", nil},
	}
	for _, c := range cases {
		hello, state := Parse([]byte(c.in))
		if state != c.state || hello.ServerName != c.host || !slices.Equal(hello.ALPN, c.alpn) {
			t.Errorf("%s: %v %v, want %v %q %v", c.name, state, hello, c.state, c.host, c.alpn)
		}
	}
}

// TestBound: whatever comes, a verdict is there after MaxBytes.
func TestBound(t *testing.T) {
	whole := []byte(record(fixed + list(2, extension(21, strings.Repeat("\x00", MaxMessage-100)))))
	if _, state := Parse(whole); state != Complete {
		t.Errorf("a hello of %d bytes: %v", len(whole), state)
	}
	tiny := fragment(whole, func() int { return 1 })
	var p Parser
	for n := 0; ; n += 100 {
		_, state := p.Parse(tiny[:min(n, len(tiny))])
		if state == Malformed {
			break
		}
		if n > MaxBytes {
			t.Fatalf("%v after %d bytes", state, n)
		}
	}
}

// FuzzParse compares with crypto/tls. What it reads, we read the same way or
// refuse; what it does not read, has no name here.
func FuzzParse(f *testing.F) {
	for _, cfg := range configs() {
		b := generate(f, cfg)
		f.Add(b, uint64(0))
		f.Add(fragment(b, func() int { return 7 }), uint64(3))
	}
	f.Add([]byte(record(fixed+list(2, sni("a.b")+alpn("h2")))), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		hello, state := Parse(b)
		theirs, read := oracle(b)
		switch {
		case state == Complete && read:
			if hello.ServerName != strings.TrimSuffix(strings.ToLower(theirs.ServerName), ".") || !slices.Equal(hello.ALPN, theirs.ALPN) {
				t.Fatalf("%v, crypto/tls reads %v", hello, theirs)
			}
		case state != Complete && (hello.ServerName != "" || hello.ALPN != nil):
			t.Fatalf("%v with %v", state, hello)
		case (state == More || state == NotTLS) && read:
			t.Fatalf("%v, crypto/tls reads %v", state, theirs)
		}
		// In pieces the verdict is the same, and once it is there it stays.
		random, p, last := rand.New(rand.NewPCG(seed, 1)), Parser{}, More
		for n := 0; n <= len(b); n += 1 + random.IntN(40) {
			_, last = p.Parse(b[:n])
			if last != More {
				break
			}
		}
		if last == More {
			_, last = p.Parse(b)
		}
		if last != state {
			t.Fatalf("in pieces %v, at once %v", last, state)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	hello := generate(b, configs()[0])
	b.ReportAllocs()
	for b.Loop() {
		if _, state := Parse(hello); state != Complete {
			b.Fatal(state)
		}
	}
}

func TestAllocsParse(t *testing.T) {
	hello := generate(t, configs()[0])
	// The name, the list and its two protocols.
	if n := testing.AllocsPerRun(100, func() { Parse(hello) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
