package stream

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		name, scheme, method, raw, host string
		want                            Target
	}{
		{"origin-form", "http", "GET", "/a?b=c", "example.com",
			Target{"http", "example.com", "", "/a", "b=c", true}},
		{"empty query", "http", "GET", "/a?", "h", Target{"http", "h", "", "/a", "", true}},
		{"question mark in query", "http", "GET", "/a?b?c/../d", "h", Target{"http", "h", "", "/a", "b?c/../d", true}},
		{"no host", "http", "GET", "/", "", Target{"http", "", "", "/", "", false}},
		{"host in case (Caddy CVE-2026-27588)", "https", "GET", "/", "Example.COM:8443",
			Target{"https", "example.com", "8443", "/", "", false}},
		{"trailing dot", "http", "GET", "/", "example.com.:80", Target{"http", "example.com", "80", "/", "", false}},
		{"mixed punycode (Go CVE-2026-39821)", "http", "GET", "/", "XN--Bcher-Kva.example",
			Target{"http", "xn--bcher-kva.example", "", "/", "", false}},
		{"empty port", "http", "GET", "/", "h:", Target{"http", "h", "", "/", "", false}},
		{"IPv4", "http", "GET", "/", "127.0.0.1:80", Target{"http", "127.0.0.1", "80", "/", "", false}},
		{"IPv6", "http", "GET", "/", "[::1]:8080", Target{"http", "[::1]", "8080", "/", "", false}},
		{"IPv6, spelled out", "http", "GET", "/", "[2001:DB8:0:0:0:0:0:1]", Target{"http", "[2001:db8::1]", "", "/", "", false}},
		{"absolute-form", "http", "GET", "HTTP://Example.com:80/a/./b?c", "example.com:80",
			Target{"http", "example.com", "80", "/a/b", "c", true}},
		{"absolute-form, no path", "http", "GET", "http://h", "h", Target{"http", "h", "", "/", "", false}},
		{"absolute-form, query only", "http", "GET", "http://h?q", "h", Target{"http", "h", "", "/", "q", true}},
		{"absolute-form, no Host (1.0)", "https", "GET", "https://h/x", "", Target{"https", "h", "", "/x", "", false}},
		{"absolute-form, any scheme", "", "GET", "https://h/x", "", Target{"https", "h", "", "/x", "", false}},
		{"asterisk-form", "http", "OPTIONS", "*", "h", Target{"http", "h", "", "*", "", false}},
		{"authority-form", "https", "CONNECT", "Example.com.:443", "example.com:443",
			Target{"https", "example.com", "443", "", "", false}},
		{"authority-form, no Host (1.0, HTTP/2)", "http", "CONNECT", "h:8080", "", Target{"http", "h", "8080", "", "", false}},
		{"authority-form, IPv6", "http", "CONNECT", "[2001:DB8:0::1]:22", "[2001:db8::1]:22",
			Target{"http", "[2001:db8::1]", "22", "", "", false}},
		{"absolute-form of the same", "http", "OPTIONS", "http://h", "h", Target{"http", "h", "", "*", "", false}},
	} {
		got, f := ParseTarget(c.scheme, c.method, c.raw, c.host)
		if f != nil || got != c.want {
			t.Errorf("%s: ParseTarget(%q, %q) = %+v, %v, want %+v", c.name, c.raw, c.host, got, f, c.want)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	many := "/?" + strings.Repeat("a&", MaxQueryParams)
	for _, c := range []struct {
		name, method, raw, host string
		kind                    Kind
		limit                   string
	}{
		{"empty", "GET", "", "h", RequestMalformed, ""},
		{"asterisk for GET", "GET", "*", "h", RequestMalformed, ""},
		{"CONNECT without a port", "CONNECT", "h", "h", RequestMalformed, ""},
		{"CONNECT with an empty port", "CONNECT", "h:", "h:", RequestMalformed, ""},
		{"CONNECT to port 0", "CONNECT", "h:0", "h:0", RequestMalformed, ""},
		{"CONNECT, a port spelled in two ways", "CONNECT", "h:0443", "h:0443", RequestMalformed, ""},
		{"CONNECT, a port that is none", "CONNECT", "h:65536", "", RequestMalformed, ""},
		{"CONNECT, a port in words", "CONNECT", "h:https", "", RequestMalformed, ""},
		{"CONNECT, Host of another", "CONNECT", "a:443", "b:443", RequestMalformed, ""},
		{"CONNECT, Host with another port", "CONNECT", "a:443", "a:80", RequestMalformed, ""},
		{"CONNECT, Host without the port", "CONNECT", "a:443", "a", RequestMalformed, ""},
		{"CONNECT to a path", "CONNECT", "/", "h", RequestMalformed, ""},
		{"CONNECT with a path", "CONNECT", "h:443/x", "h:443", RequestMalformed, ""},
		{"CONNECT with a query", "CONNECT", "h:443?x", "h:443", RequestMalformed, ""},
		{"CONNECT with a scheme", "CONNECT", "http://h:443", "h:443", RequestMalformed, ""},
		{"CONNECT with userinfo", "CONNECT", "u@h:443", "", RequestMalformed, ""},
		{"CONNECT with userinfo and a port", "CONNECT", "u:1@h:443", "", RequestMalformed, ""},
		{"CONNECT *", "CONNECT", "*", "h", RequestMalformed, ""},
		{"CONNECT to any host", "CONNECT", "*:443", "*:443", RequestMalformed, ""},
		{"CONNECT to no host", "CONNECT", ":443", "", RequestMalformed, ""},
		{"CONNECT to nothing", "CONNECT", "", "h:443", RequestMalformed, ""},
		{"CONNECT to a short IPv4", "CONNECT", "127.1:443", "", RequestMalformed, ""},
		{"CONNECT to a bare IPv6", "CONNECT", "::1:443", "", RequestMalformed, ""},
		{"echo of the request", "TRACE", "/", "h", MethodUnsupported, ""},
		{"authority-form for GET", "GET", "h:443", "h", RequestMalformed, ""},
		{"no leading slash (grpc-go CVE-2026-33186)", "POST", "pkg.Svc/M", "h", RequestMalformed, ""},
		{"other scheme", "GET", "ftp://h/", "h", RequestMalformed, ""},
		{"scheme of another connection", "GET", "https://h/", "h", RequestMalformed, ""},
		{"authority differs from Host", "GET", "http://a/", "b", RequestMalformed, ""},
		{"port differs from Host", "GET", "http://a:81/", "a", RequestMalformed, ""},
		{"userinfo", "GET", "http://u@h/", "h", RequestMalformed, ""},
		{"userinfo with the Host's name", "GET", "http://h@evil/", "h", RequestMalformed, ""},
		{"backslash in the authority", "GET", `http://h\@evil/`, "h", RequestMalformed, ""},
		{"no authority", "GET", "http:///x", "h", RequestMalformed, ""},
		{"fragment", "GET", "/a#b", "h", RequestMalformed, ""},
		{"fragment in the query", "GET", "/a?b#c", "h", RequestMalformed, ""},
		{"space in the query", "GET", "/a?b c", "h", RequestMalformed, ""},
		{"control in the query", "GET", "/a?b\nc", "h", RequestMalformed, ""},
		{"broken escape in the query (Go CVE-2022-2880)", "GET", "/a?b=%zz", "h", RequestMalformed, ""},
		{"cut escape in the query", "GET", "/a?b=%4", "h", RequestMalformed, ""},
		{"not UTF-8 in the query", "GET", "/a?\xff", "h", RequestMalformed, ""},
		{"parameters (Go CVE-2025-61726, CVE-2026-39825)", "GET", many, "h", RequestMalformed, "max_query_parameters"},
		{"Host userinfo", "GET", "/", "u@h", RequestMalformed, ""},
		{"Host empty with port", "GET", "/", ":80", RequestMalformed, ""},
		{"Host a dot", "GET", "/", ".", RequestMalformed, ""},
		{"Host two dots at the end", "GET", "/", "h..", RequestMalformed, ""},
		{"Host empty label", "GET", "/", "a..b", RequestMalformed, ""},
		{"Host list", "GET", "/", "a,b", RequestMalformed, ""},
		{"Host space", "GET", "/", "a b", RequestMalformed, ""},
		{"Host path", "GET", "/", "a/b", RequestMalformed, ""},
		{"Host bytes (Go CVE-2023-29406)", "GET", "/", "a\r\nX: y", RequestMalformed, ""},
		{"Host escape", "GET", "/", "%61", RequestMalformed, ""},
		{"Host not ASCII", "GET", "/", "é.example", RequestMalformed, ""},
		{"Host long", "GET", "/", strings.Repeat("a", 254), RequestMalformed, ""},
		{"Host port", "GET", "/", "h:65536", RequestMalformed, ""},
		{"Host port", "GET", "/", "h:0000080", RequestMalformed, ""},
		{"Host port", "GET", "/", "h:+80", RequestMalformed, ""},
		{"Host two ports", "GET", "/", "h:80:80", RequestMalformed, ""},
		{"Host short IPv4", "GET", "/", "127.1", RequestMalformed, ""},
		{"Host octal IPv4", "GET", "/", "0177.0.0.1", RequestMalformed, ""},
		{"Host hex IPv4", "GET", "/", "0x7f000001", RequestMalformed, ""},
		{"Host bare IPv6", "GET", "/", "::1", RequestMalformed, ""},
		{"Host IPv6 zone (Envoy CVE-2026-26310)", "GET", "/", "[fe80::1%25eth0]", RequestMalformed, ""},
		{"Host IPv6 zone (Envoy CVE-2026-26310)", "GET", "/", "[fe80::1%eth0]", RequestMalformed, ""},
		{"Host IPv6 open (Go CVE-2025-47912)", "GET", "/", "[::1", RequestMalformed, ""},
		{"Host IPv6 tail (Go CVE-2026-25679)", "GET", "/", "[::1]x", RequestMalformed, ""},
		{"Host IPv6 empty", "GET", "/", "[]", RequestMalformed, ""},
		{"Host IPv4 in brackets (Go CVE-2025-47912)", "GET", "/", "[127.0.0.1]", RequestMalformed, ""},
		{"Host IPvFuture", "GET", "/", "[v1.x]", RequestMalformed, ""},
	} {
		got, f := ParseTarget("http", c.method, c.raw, c.host)
		if f == nil || f.Kind != c.kind || f.Limit != c.limit || f.Retry != RetryNever || got != (Target{}) {
			t.Errorf("%s: ParseTarget(%.60q, %.60q) = %+v, %v, want %v", c.name, c.raw, c.host, got, f, c.kind)
		}
	}
}

func TestQueryParamsAtTheLimit(t *testing.T) {
	raw := "/?" + strings.Repeat("a&", MaxQueryParams-1) + "z"
	target, f := ParseTarget("http", "GET", raw, "h")
	if f != nil {
		t.Fatal(f)
	}
	n := 0
	for range target.QueryParams() {
		n++
	}
	if n != MaxQueryParams {
		t.Errorf("%d parameters, want %d", n, MaxQueryParams)
	}
}

func TestQuery(t *testing.T) {
	target := Target{Query: "a=1&b=x+y%2Bz&&=v&c&a=2&d=;e=f&k%20=%zz"}
	var got []string
	for name, value := range target.QueryParams() {
		got = append(got, name+"|"+value)
	}
	if want := "a|1 b|x y+z |v c| a|2 d|;e=f k |%zz"; strings.Join(got, " ") != want {
		t.Errorf("parameters %q, want %q", got, want)
	}
	for name, want := range map[string]string{"a": "1", "b": "x y+z", "c": "", "d": ";e=f"} {
		if v, ok := target.QueryGet(name); v != want || !ok {
			t.Errorf("QueryGet(%q) = %q, %v, want %q", name, v, ok, want)
		}
	}
	if v, ok := target.QueryGet("e"); ok {
		t.Errorf(`QueryGet("e") = %q, want none: ";" is no separator`, v)
	}
}

// A policy must see the parameters that the upstream sees (threats.md section
// 4, Go CVE-2022-2880).
func TestQueryAsOthersReadIt(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "b", "=", "&", "+", "%20", "%3d", "%26", "%2B", "%00", "é", "[", "?", "%", "/"})
	rapid.Check(t, func(t *rapid.T) {
		query := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
		target, f := ParseTarget("http", "GET", "/?"+query, "h")
		want, err := url.ParseQuery(query)
		if (f == nil) != (err == nil) {
			t.Fatalf("%q: ParseTarget says %v, net/url %v", query, f, err)
		}
		if f != nil {
			return
		}
		for name, value := range target.QueryParams() {
			if values := want[name]; len(values) == 0 || values[0] != value {
				t.Fatalf("%q: %q is %q, in net/url %q", query, name, value, values)
			}
			want[name] = want[name][1:]
		}
		for name, left := range want {
			if len(left) > 0 {
				t.Fatalf("%q: net/url sees %q = %q too", query, name, left)
			}
		}
	})
}

func TestTargetText(t *testing.T) {
	for _, c := range []struct {
		target         Target
		authority, uri string
	}{
		{Target{Host: "h", Path: "/a"}, "h", "/a"},
		{Target{Host: "h", Port: "8080", Path: "/a", HasQuery: true}, "h:8080", "/a?"},
		{Target{Host: "[::1]", Port: "80", Path: "*", Query: "b", HasQuery: true}, "[::1]:80", "*?b"},
	} {
		if got := c.target.Authority(); got != c.authority || got != string(c.target.AppendAuthority(nil)) {
			t.Errorf("authority of %+v is %q, want %q", c.target, got, c.authority)
		}
		if got := c.target.RequestURI(); got != c.uri || got != string(c.target.AppendURI(nil)) {
			t.Errorf("URI of %+v is %q, want %q", c.target, got, c.uri)
		}
	}
	if got := (Target{Host: "h", Path: "/a", Query: "q", HasQuery: true}).WithPath("/b").RequestURI(); got != "/b?q" {
		t.Errorf("WithPath gives %q", got)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("GET", "/a?b=c", "example.com:80")
	f.Add("GET", "http://[::1]:80/../?%41", "[::1]:80")
	f.Add("OPTIONS", "*", "")
	f.Add("CONNECT", "h:443", "h:443")
	f.Fuzz(func(t *testing.T, method, raw, host string) {
		target, fault := ParseTarget("http", method, raw, host)
		if fault != nil {
			if target != (Target{}) {
				t.Fatalf("%+v beside %v", target, fault)
			}
			return
		}
		uri := target.RequestURI()
		switch {
		case method == "CONNECT":
			if uri != "" || target.Port == "" {
				t.Fatalf("CONNECT %q %q gives %+v", raw, host, target)
			}
			uri = target.Authority()
		case target.Path != "*":
			checkPath(t, target.Path)
		}
		again, fault := ParseTarget("http", method, uri, target.Authority())
		if fault != nil || again != target {
			t.Fatalf("%q %q gives %+v, and that %+v, %v", raw, host, target, again, fault)
		}
	})
}

func TestAllocsParseTarget(t *testing.T) {
	for _, raw := range []string{"/v1/payments/1?currency=EUR&x=%20", "http://pay.example.com:8443/caf%C3%A9"} {
		if n := testing.AllocsPerRun(100, func() {
			target, f := ParseTarget("http", "GET", raw, "pay.example.com:8443")
			if f != nil || target.Port != "8443" {
				t.Fatal(f)
			}
			if v, ok := target.QueryGet("currency"); ok && v != "EUR" {
				t.Fatal(v)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", raw, n)
		}
	}
}

func BenchmarkParseTarget(b *testing.B) {
	for _, c := range []struct{ name, raw, host string }{
		{"Plain", "/v1/payments/0123456789?currency=EUR&limit=100", "pay.example.com"},
		{"Escaped", "/v1/a%20b/caf%C3%A9/c", "Pay.example.com:8443"},
		{"Rewritten", "/v1/../%61dmin//x", "pay.example.com"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, f := ParseTarget("http", "GET", c.raw, c.host); f != nil {
					b.Fatal(f)
				}
			}
		})
	}
}
