package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	oracle "github.com/pires/go-proxyproto"
)

func ap(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

// v2 is a header with this block behind the fixed part.
func v2(command, family byte, block string) string {
	return signature2 + string([]byte{command, family, byte(len(block) >> 8), byte(len(block))}) + block
}

func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

// checked is a header that ends in its checksum, which is off by wrong.
func checked(wrong uint32, extensions string) string {
	b := []byte(v2(0x21, 0x11, block4+extensions+tlv(3, "\x00\x00\x00\x00")))
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) + wrong
	binary.BigEndian.PutUint32(b[len(b)-4:], sum)
	return string(b)
}

const (
	block4 = "\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x01\xbb"
	block6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x30\x39\x01\xbb"
)

func TestParse(t *testing.T) {
	unix := strings.Repeat("/run/x", 36)
	longest := "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	cases := []struct {
		name, in string
		state    State
		from, to string
		local    bool
	}{
		{"nothing", "", More, "", "", false},
		{"half of a signature", "PROX", More, "", "", false},
		{"another half", "\r\n\r\n\x00", More, "", "", false},
		{"http", "POST / HTTP/1.1\r\n", Absent, "", "", false},
		{"lower case", "proxy TCP4", Absent, "", "", false},
		{"http after a blank line", "\r\nGET /", Absent, "", "", false},
		{"no space", "PROXYTCP4", Absent, "", "", false},

		{"TCP4", "PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r\n", Complete, "10.0.0.1:12345", "10.0.0.2:443", false},
		{"TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n", Complete, "[2001:db8::1]:12345", "[2001:db8::2]:443", false},
		{"mapped", "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 1 2\r\n", Complete, "10.0.0.1:1", "[2001:db8::2]:2", false},
		{"longest addresses", longest, Complete, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false},
		{"port 0", "PROXY TCP4 10.0.0.1 10.0.0.2 0 0\r\n", Complete, "10.0.0.1:0", "10.0.0.2:0", false},
		{"unknown", "PROXY UNKNOWN\r\n", Complete, "", "", true},
		{"unknown with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Complete, "", "", true},
		{"no end", "PROXY TCP4 10.0.0.1 10.0.0.2 12345 443", More, "", "", false},
		{"half an end", "PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r", More, "", "", false},
		{"107 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", Complete, "", "", true},
		{"108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", Malformed, "", "", false},
		{"107 bytes without end", "PROXY UNKNOWN " + strings.Repeat("x", 93), Malformed, "", "", false},
		{"LF alone", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", Malformed, "", "", false},
		{"CR alone", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rX", Malformed, "", "", false},
		{"NUL", "PROXY UNKNOWN \x00", Malformed, "", "", false},
		{"two spaces", "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n", Malformed, "", "", false},
		{"space at the end", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n", Malformed, "", "", false},
		{"tab", "PROXY TCP4\t10.0.0.1 10.0.0.2 1 2\r\n", Malformed, "", "", false},
		{"no ports", "PROXY TCP4 10.0.0.1 10.0.0.2\r\n", Malformed, "", "", false},
		{"nothing behind the family", "PROXY TCP4\r\n", Malformed, "", "", false},
		{"UDP4", "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n", Malformed, "", "", false},
		{"no family", "PROXY \r\n", Malformed, "", "", false},
		{"wrong family", "PROXY TCP4 ::1 ::2 1 2\r\n", Malformed, "", "", false},
		{"wrong family 6", "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n", Malformed, "", "", false},
		{"zero in front", "PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n", Malformed, "", "", false},
		{"zone", "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", Malformed, "", "", false},
		{"port too large", "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n", Malformed, "", "", false},
		{"port with zero", "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n", Malformed, "", "", false},
		{"port with sign", "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n", Malformed, "", "", false},

		{"2: TCP4", v2(0x21, 0x11, block4), Complete, "10.0.0.1:12345", "10.0.0.2:443", false},
		{"2: UDP4", v2(0x21, 0x12, block4), Complete, "10.0.0.1:12345", "10.0.0.2:443", false},
		{"2: TCP6", v2(0x21, 0x21, block6), Complete, "[2001:db8::1]:12345", "[2001:db8::2]:443", false},
		{"2: UDP6", v2(0x21, 0x22, block6), Complete, "[2001:db8::1]:12345", "[2001:db8::2]:443", false},
		{"2: Unix", v2(0x21, 0x31, unix), Complete, "", "", true},
		{"2: local", v2(0x20, 0x00, ""), Complete, "", "", true},
		{"2: local with a block", v2(0x20, 0x77, "anything"), Complete, "", "", true},
		{"2: unspec", v2(0x21, 0x00, "anything"), Complete, "", "", true},
		{"2: extensions", v2(0x21, 0x11, block4+tlv(1, "h2")+tlv(4, "")+tlv(0xee, "x")), Complete, "10.0.0.1:12345", "10.0.0.2:443", false},
		{"2: checksum", checked(0, tlv(1, "h2")), Complete, "10.0.0.1:12345", "10.0.0.2:443", false},
		{"2: wrong checksum", checked(1, ""), Malformed, "", "", false},
		{"2: two checksums", checked(0, tlv(3, "abcd")), Malformed, "", "", false},
		{"2: short checksum", v2(0x21, 0x11, block4+tlv(3, "abc")), Malformed, "", "", false},
		{"2: version 1", v2(0x11, 0x11, block4), Malformed, "", "", false},
		{"2: command", v2(0x22, 0x11, block4), Malformed, "", "", false},
		{"2: family", v2(0x21, 0x41, block4), Malformed, "", "", false},
		{"2: transport", v2(0x21, 0x13, block4), Malformed, "", "", false},
		{"2: family without transport", v2(0x21, 0x10, block4), Malformed, "", "", false},
		{"2: short block", v2(0x21, 0x11, block4[:11]), Malformed, "", "", false},
		{"2: short block of IPv6", v2(0x21, 0x21, block6[:35]), Malformed, "", "", false},
		{"2: short block of Unix", v2(0x21, 0x31, unix[:215]), Malformed, "", "", false},
		{"2: extension past the end", v2(0x21, 0x11, block4+"\xee\x00\x02x"), Malformed, "", "", false},
		{"2: extension far past the end", v2(0x21, 0x11, block4+"\xee\xff\xffx"), Malformed, "", "", false},
		{"2: half an extension", v2(0x21, 0x11, block4+"\xee\x00"), Malformed, "", "", false},
		{"2: largest", v2(0x20, 0, strings.Repeat("x", MaxBytes-16)), Complete, "", "", true},
		{"2: too large", v2(0x20, 0, "")[:14] + "\x0f\xf1", Malformed, "", "", false},
		{"2: not all there", v2(0x21, 0x11, block4)[:27], More, "", "", false},
	}
	for _, c := range cases {
		h, n, state := Parse([]byte(c.in))
		if state != c.state || h.Source != ap(c.from) || h.Destination != ap(c.to) || h.Local != c.local {
			t.Errorf("%s: %v %+v", c.name, state, h)
			continue
		}
		if state != Complete {
			continue
		}
		if n != len(c.in) {
			t.Errorf("%s: %d bytes, want %d", c.name, n, len(c.in))
		}
		for cut := range n {
			if _, _, state := Parse([]byte(c.in[:cut])); state != More {
				t.Fatalf("%s: %v with %d of %d bytes", c.name, state, cut, n)
			}
		}
		behind, n2, state2 := Parse([]byte(c.in + "\x16\x03\x01\r\nPROXY"))
		if state2 != Complete || n2 != n || behind != h {
			t.Errorf("%s: what follows changes it: %v, %d", c.name, state2, n2)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		from, to string
		local    bool
		v1       string
	}{
		{"10.0.0.1:1", "10.0.0.2:65535", false, "PROXY TCP4 10.0.0.1 10.0.0.2 1 65535\r\n"},
		{"[::ffff:10.0.0.1]:1", "10.0.0.2:2", false, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"},
		{"[2001:db8::1]:1", "[2001:db8::2]:2", false, "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"},
		{"10.0.0.1:1", "[2001:db8::2]:2", false, "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 1 2\r\n"},
		{"[fe80::1%eth0]:1", "[fe80::2]:2", false, "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		{"", "10.0.0.2:2", false, "PROXY UNKNOWN\r\n"},
		{"10.0.0.1:1", "10.0.0.2:2", true, "PROXY UNKNOWN\r\n"},
	} {
		from, to := ap(c.from), ap(c.to)
		if got := string(Append([]byte("x"), 1, from, to, c.local)); got != "x"+c.v1 {
			t.Errorf("%q, want %q", got[1:], c.v1)
		}
		for version := 1; version <= 2; version++ {
			b := Append(nil, version, from, to, c.local)
			h, n, state := Parse(b)
			if state != Complete || n != len(b) || h.Version != version {
				t.Errorf("%v: %v %d", b, state, n)
			}
			theirs, err := oracle.Read(bufio.NewReader(bytes.NewReader(b)))
			if err != nil {
				t.Fatalf("go-proxyproto does not read %q: %v", b, err)
			}
			if c.local || c.from == "" {
				if !h.Local || version == 2 && !theirs.Command.IsLocal() {
					t.Errorf("%q: %+v, %+v", b, h, theirs)
				}
				continue
			}
			want := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
			if h.Source != want || addressOf(theirs.SourceAddr) != want || h.Destination != addressOf(theirs.DestinationAddr) {
				t.Errorf("%q: %+v, %+v", b, h, theirs)
			}
		}
	}
}

func addressOf(a net.Addr) netip.AddrPort {
	var got netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		got = a.AddrPort()
	case *net.UDPAddr:
		got = a.AddrPort()
	}
	return netip.AddrPortFrom(got.Addr().Unmap(), got.Port())
}

// pieces is a connection that gives a few bytes with each Read.
type pieces struct {
	net.Conn
	rest []byte
	size func() int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(len(p.rest), p.size())])
	p.rest = p.rest[n:]
	return n, nil
}

func TestRead(t *testing.T) {
	const behind = "\x16\x03\x01 the rest"
	random := rand.New(rand.NewPCG(7, 8))
	sizes := []func() int{
		func() int { return 1 }, func() int { return 1 << 20 }, func() int { return 1 + random.IntN(300) },
		func() int { return random.IntN(3) }, // a Read may give nothing
	}
	for _, header := range []string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r\n", v2(0x21, 0x11, block4),
		v2(0x21, 0x11, block4+tlv(0xee, strings.Repeat("x", 3000))), v2(0x20, 0, strings.Repeat("x", MaxBytes-16)),
	} {
		for _, size := range sizes {
			h, rest, err := Read(&pieces{rest: []byte(header + behind), size: size})
			if err != nil {
				t.Fatal(err)
			}
			if want, _, _ := Parse([]byte(header)); h != want {
				t.Errorf("%+v, want %+v", h, want)
			}
			if b, _ := io.ReadAll(rest); string(b) != behind {
				t.Errorf("behind the header: %q", b)
			}
		}
	}
	for in, want := range map[string]error{
		"":                    io.EOF,
		"PROXY TCP4":          io.ErrUnexpectedEOF,
		"GET / HTTP/1.1\r\n":  ErrAbsent,
		"PROXY TCP4 \r\n":     ErrMalformed,
		v2(0x21, 0x99, ""):    ErrMalformed,
		v2(0x20, 0, "x")[:16]: io.ErrUnexpectedEOF,
	} {
		for _, size := range sizes {
			if _, _, err := Read(&pieces{rest: []byte(in), size: size}); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", in, err, want)
			}
		}
	}
}

// FuzzParse compares with go-proxyproto: what we take for a header, it reads
// the same way; and what it reads, we read or refuse.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r\n", "PROXY TCP6 ::1 ::2 1 2\r\nGET", "PROXY UNKNOWN x\r\n",
		v2(0x21, 0x11, block4+tlv(1, "h2")), v2(0x21, 0x22, block6), v2(0x20, 0, ""), v2(0x21, 0x31, strings.Repeat("x", 216)),
		checked(0, ""), checked(1, ""), "GET / HTTP/1.1\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, state := Parse(b)
		theirs, err := oracle.Read(bufio.NewReaderSize(bytes.NewReader(b), 1<<17))
		switch {
		case state == Complete && err != nil:
			// It reads LOCAL and UNSPEC by their family, and lines of UNKNOWN
			// more narrowly; the specification ignores what they carry.
			if !h.Local {
				t.Fatalf("%q is %+v, for go-proxyproto: %v", b, h, err)
			}
		case state == Complete && !h.Local:
			if h.Source != addressOf(theirs.SourceAddr) || h.Destination != addressOf(theirs.DestinationAddr) {
				t.Fatalf("%q is %+v, for go-proxyproto %+v", b, h, theirs)
			}
		case (state == More || state == Absent) && err == nil:
			t.Fatalf("%q: %v, for go-proxyproto %+v", b, state, theirs)
		}
		if state == Complete && (n <= 0 || n > len(b)) || state != Complete && (n != 0 || h != Header{}) {
			t.Fatalf("%v with %d bytes, %+v", state, n, h)
		}
		for cut := range b { // a verdict that is there, stays
			_, _, early := Parse(b[:cut])
			if early != More {
				if early != state {
					t.Fatalf("%v with %d bytes, %v with all", early, cut, state)
				}
				break
			}
		}
	})
}

func TestAllocsParse(t *testing.T) {
	b := []byte(v2(0x21, 0x11, block4))
	line := []byte("PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r\n")
	if n := testing.AllocsPerRun(100, func() { Parse(b) }); n != 0 {
		t.Errorf("version 2: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { Parse(line) }); n > 2 { // the texts of the addresses
		t.Errorf("version 1: %v allocations", n)
	}
}
