package requestkey

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/stream"
)

func TestParse(t *testing.T) {
	for _, text := range []string{"client", "header:X-User", "cookie:sid", "query:a b", "claim:https://example.com/tenant", "claim:/a/b~1c", "country", "continent", "asn"} {
		k, err := Parse(text)
		if err != nil || k.String() != text || k.IsZero() {
			t.Errorf("%q: %q, %v", text, k, err)
		}
	}
	for text, want := range map[string]string{
		"":            "use header:NAME, cookie:NAME, query:NAME, claim:NAME, country, continent, asn, client or client/BITS",
		"Client":      "is not known",
		"header":      "is not known",
		"header:":     "has no name; write header:NAME",
		"query:":      "has no name",
		"claim:":      "has no name",
		"claim:/a//b": "empty step",
		"header:a b":  `"a b" is not a name that a header can have`,
		"cookie:a=b":  `"a=b" is not a name that a cookie can have`,
		"header:x\ny": "is not a name",
	} {
		if k, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) || !k.IsZero() {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if (Key{}).String() != "" {
		t.Error("the zero key has a text")
	}
}

// atlas says the same of every address, and counts.
type atlas struct {
	place stream.Place
	asked int
}

func (a *atlas) Locate(client netip.Addr) stream.Place {
	if !client.Is4() {
		panic("it is asked for an address in another form")
	}
	a.asked++
	return a.place
}

func TestOf(t *testing.T) {
	target, fault := stream.ParseTarget("http", "GET", "/?q=a%20b&e=&q=2&%6B=v", "h")
	if fault != nil {
		t.Fatal(fault)
	}
	req := &stream.Request{Target: target, Client: netip.MustParseAddr("::ffff:192.0.2.1")}
	for _, f := range [][2]string{{"X-One", "1"}, {"X-Two", "a"}, {"x-two", "b"}, {"X-Empty", ""}, {"Cookie", "sid=s"}} {
		req.Header.Add(f[0], f[1])
	}
	cases := []struct {
		key, want string
		ok        bool
	}{
		{"client", "192.0.2.1", true},
		{"header:x-one", "1", true},
		{"header:x-TWO", "a, b", true},
		{"header:x-empty", "", true},
		{"header:x-none", "", false},
		{"cookie:sid", "s", true},
		{"cookie:SID", "", false},
		{"query:q", "a b", true},
		{"query:k", "v", true},
		{"query:e", "", true},
		{"query:none", "", false},
		{"claim:sub", "anna", true},
		{"country", "DE", true},
		{"continent", "EU", true},
		{"asn", "64500", true},
		{"claim:age", "42", true},
		{"claim:/org/id", "7", true},
		{"claim:roles", "", false},
		{"claim:org", "", false},
		{"claim:null", "", false},
		{"claim:none", "", false},
	}
	atlas := &atlas{place: stream.Place{Country: "DE", Continent: "EU", ASN: 64500}}
	req.Conn = &stream.Conn{Places: atlas}
	text := func(s string) stream.Claim { return stream.Claim{Kind: stream.TextClaim, Text: s} }
	req.Identify(&stream.Claims{All: stream.Claim{Kind: stream.ObjectClaim, Members: map[string]stream.Claim{
		"sub": text("anna"), "age": text("42"), "roles": {Kind: stream.ListClaim, Items: []stream.Claim{text("a")}}, "null": {},
		"org": {Kind: stream.ObjectClaim, Members: map[string]stream.Claim{"id": text("7")}},
	}}})
	for _, c := range cases {
		k, err := Parse(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := k.Of(req); got != c.want || ok != c.ok {
			t.Errorf("%s: %q %v, want %q %v", c.key, got, ok, c.want, c.ok)
		}
		if got, ok := k.AppendTo([]byte("-"), req); string(got) != "-"+c.want || ok != c.ok {
			t.Errorf("%s appended: %q %v", c.key, got, ok)
		}
	}
	if _, ok := (Key{}).Of(req); ok {
		t.Error("the zero key has a value")
	}
	if atlas.asked != 1 {
		t.Errorf("looked up %d times for one request", atlas.asked)
	}
	req.Caller, atlas.place = nil, stream.Place{}
	for _, text := range []string{"country", "continent", "asn"} {
		if k, _ := Parse(text); k.OfCountry() == k.OfASN() {
			t.Errorf("%s is of no database", text)
		} else if got, ok := k.AppendTo(nil, req); ok {
			t.Errorf("%s of nowhere: %q", text, got)
		}
	}
	req.Caller = nil
	if k, _ := Parse("claim:sub"); !k.OfClaim() {
		t.Error("a claim is none")
	} else if _, ok := k.Of(req); ok {
		t.Error("there is a claim without a token")
	}
	req.Client = netip.Addr{} // a Unix socket
	client, _ := Parse("client")
	_, of := client.Of(req)
	if _, appended := client.AppendTo(nil, req); of || appended {
		t.Error("there is a client without an address")
	}
	req.Client = netip.MustParseAddr("fe80::1%eth0")
	if got, _ := client.Of(req); got != "fe80::1" {
		t.Errorf("a zone is left: %s", got)
	}
}

func TestCookie(t *testing.T) {
	cases := []struct {
		fields []string
		want   string
		ok     bool
	}{
		{[]string{"k=v"}, "v", true},
		{[]string{"a=b; k=v; c=d"}, "v", true},
		{[]string{"a=b;k=v"}, "v", true},
		{[]string{"a=b;\t k=v \t"}, "v", true},
		{[]string{"a=b", "k=v"}, "v", true},
		{[]string{"k=first; k=second"}, "first", true},
		{[]string{`k="v"`}, "v", true},
		{[]string{`k=""`}, "", true},
		{[]string{"k="}, "", true},
		{[]string{"k=a=b"}, "a=b", true},
		{[]string{"k=a,b; k=c"}, "c", true}, // the first is none
		{[]string{"k"}, "", false},
		{[]string{"K=v"}, "", false},
		{[]string{"k =v"}, "", false},
		{[]string{"k= v"}, "", false},
		{[]string{"xk=v"}, "", false},
		{[]string{"a=;;; =; k"}, "", false},
		{[]string{`k="`}, "", false},
		{[]string{`k=a"b`}, "", false},
		{[]string{`k=a\b`}, "", false},
		{[]string{"k=\x7f"}, "", false},
		{[]string{"k=\u00e9"}, "", false},
		{[]string{""}, "", false},
		{nil, "", false},
	}
	for _, c := range cases {
		var h stream.Header
		h.Add("X-Other", "k=wrong")
		for _, f := range c.fields {
			h.Add("cookie", f)
		}
		if got, ok := Cookie(&h, "k"); got != c.want || ok != c.ok {
			t.Errorf("%q: %q %v, want %q %v", c.fields, got, ok, c.want, c.ok)
		}
	}
}

// FuzzCookie: a value that is found stands in the line, behind its name, and
// would be found again when it is written back alone.
func FuzzCookie(f *testing.F) {
	f.Add("a=b; k=v", "k")
	f.Add(`k="v";;k=w`, "k")
	f.Add("=; ==", "")
	f.Fuzz(func(t *testing.T, line, name string) {
		value, ok := cookieIn(line, name)
		if !ok {
			return
		}
		if !strings.Contains(line, name+"="+value) && !strings.Contains(line, name+`="`+value+`"`) {
			t.Fatalf("%q is not a cookie of %q", value, line)
		}
		if again, ok := cookieIn(name+"="+value, name); !ok || again != value {
			t.Fatalf("%q is not found again: %q", value, again)
		}
	})
}

// TestAppendIsInjective is threats.md section 7, "Shared computation mixes
// users" (CVE-2026-71326): distinct parts have distinct keys.
func TestAppendIsInjective(t *testing.T) {
	type part struct {
		text    string
		present bool
	}
	draw := rapid.Custom(func(t *rapid.T) part {
		if rapid.IntRange(0, 3).Draw(t, "absent") == 0 {
			return part{}
		}
		return part{rapid.SampledFrom([]string{"", "a", "ab", "b", "\x00", "\x01", "\x02a", "\x01\x02", strings.Repeat("a", 127), strings.Repeat("a", 128)}).Draw(t, "text"), true}
	})
	key := func(parts []part) (k []byte) {
		for _, p := range parts {
			k = Append(k, p.text, p.present)
		}
		return k
	}
	seen := map[string][]part{}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(draw, 0, 4).Draw(t, "parts")
		k := string(key(parts))
		before, known := seen[k]
		seen[k] = parts
		if !known {
			return
		}
		if len(before) != len(parts) {
			t.Fatalf("%v and %v have one key", before, parts)
		}
		for i := range parts {
			if parts[i] != before[i] {
				t.Fatalf("%v and %v have one key", before, parts)
			}
		}
	})
	// Pairs that a plain join would mix up.
	for _, pair := range [][2][]part{
		{{{"a", true}, {"b", true}}, {{"ab", true}, {"", true}}},
		{{{"", true}}, {{"", false}}},
		{{{"\x02a", true}}, {{"", true}, {"a", true}}},
	} {
		if string(key(pair[0])) == string(key(pair[1])) {
			t.Errorf("%v and %v have one key", pair[0], pair[1])
		}
	}
}

func TestAllocs(t *testing.T) {
	req := &stream.Request{Client: netip.MustParseAddr("2001:db8::1")}
	req.Target.Query = "a=1&q=2"
	req.Header.Add("Cookie", `a=b; c=d; k="v"`)
	req.Header.Add("X-User", "u")
	req.Identify(&stream.Claims{All: stream.Claim{Members: map[string]stream.Claim{"sub": {Kind: stream.TextClaim, Text: "anna"}}}})
	buffer := make([]byte, 0, 64)
	for _, text := range []string{"client", "header:x-user", "cookie:k", "query:q", "claim:sub"} {
		k, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { k.AppendTo(buffer, req) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

func BenchmarkCookie(b *testing.B) {
	var h stream.Header
	h.Add("Cookie", "_ga=GA1.2.3; theme=dark; session=0123456789abcdef; k=v")
	for b.Loop() {
		Cookie(&h, "k")
	}
}
