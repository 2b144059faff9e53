package entry

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestForwarded(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		client string
	}{
		{"one", []string{"Forwarded: for=203.0.113.5"}, "203.0.113.5"},
		{"case and order", []string{"Forwarded: proto=http;FOR=203.0.113.5;by=_x"}, "203.0.113.5"},
		{"quoted", []string{`Forwarded: for="203.0.113.5"`}, "203.0.113.5"},
		{"quoted with port", []string{`Forwarded: for="203.0.113.5:47011"`}, "203.0.113.5"},
		{"IPv6", []string{`Forwarded: For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		{"unquoted IPv6", []string{`Forwarded: for=[2001:db8::17]`}, "2001:db8::17"},
		{"comma and semicolon in quotes", []string{`Forwarded: for=203.0.113.5;host="a,for=6.6.6.6;b", for=10.1.1.1`}, "203.0.113.5"},
		{"escaped quote", []string{`Forwarded: for=203.0.113.5;host="a\",for=6.6.6.6", for=10.1.1.1`}, "203.0.113.5"},
		{"list", []string{"Forwarded: for=6.6.6.6, for=203.0.113.5, for=10.1.1.1"}, "203.0.113.5"},
		{"fields", []string{"Forwarded: for=203.0.113.5", "Forwarded: for=10.1.1.1"}, "203.0.113.5"},
		{"empty elements", []string{"Forwarded: ,, for=203.0.113.5 ,"}, "203.0.113.5"},
		{"without for", []string{"Forwarded: for=203.0.113.5, proto=http"}, "10.0.0.9"},
		{"unknown", []string{"Forwarded: for=203.0.113.5, for=unknown, for=10.1.1.1"}, "10.1.1.1"},
		{"hidden", []string{"Forwarded: for=_hidden"}, "10.0.0.9"},
		{"backslash in an address", []string{`Forwarded: for="203.0.113\.5"`}, "10.0.0.9"},
		{"for twice", []string{"Forwarded: for=203.0.113.5;for=6.6.6.6"}, "10.0.0.9"},
		{"open quote", []string{`Forwarded: for=203.0.113.5, for="10.1.1.1`}, "10.0.0.9"},
		{"broken, then good", []string{`Forwarded: for=6.6.6.6;x="`, "Forwarded: for=10.1.1.1"}, "10.1.1.1"},
		{"no pair", []string{"Forwarded: 203.0.113.5"}, "10.0.0.9"},
		{"something behind the quotes", []string{`Forwarded: for="203.0.113.5"x`}, "10.0.0.9"},
		{"X-Forwarded-For comes first", []string{"Forwarded: for=6.6.6.6", "X-Forwarded-For: 203.0.113.5"}, "203.0.113.5"},
		{"X-Forwarded-For comes first, even if broken", []string{"Forwarded: for=6.6.6.6", "X-Forwarded-For: x"}, "10.0.0.9"},
		{"long list", []string{"Forwarded: for=6.6.6.6, " + strings.Repeat("for=203.0.113.5, for=10.1.1.1, ", 3*maxHops)}, "203.0.113.5"},
	} {
		cfg := trusting()
		cfg.RFC7239 = true
		got, _ := serve(t, cfg, request(balancer, c.fields...))
		if got.Client.String() != c.client {
			t.Errorf("%s: client %s, want %s", c.name, got.Client, c.client)
		}
		if n := got.Header.Count("Forwarded"); n != 1 {
			t.Errorf("%s: %d Forwarded fields, want Weir's own", c.name, n)
		}
	}
	got, _ := serve(t, trusting(), request(balancer, "Forwarded: for=203.0.113.5"))
	if got.Client.String() != "10.0.0.9" || got.Header.Count("Forwarded") != 0 {
		t.Errorf("without rfc7239: client %s, Forwarded %q", got.Client, all(got, "Forwarded"))
	}
}

// What Weir writes, the next Weir reads: the client of the first is that of
// the second, by either field.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.5, 10.1.1.1", "for=203.0.113.5")
	f.Add("", `for="[2001:db8::1]:80";host="a,b";proto=https, for=10.1.1.1`)
	f.Add("::ffff:1.2.3.4:80, [fd00::1], 10.1.1.1:80", `for="\"`)
	f.Fuzz(func(t *testing.T, list, forwarded string) {
		cfg := trusting()
		cfg.RFC7239 = true
		for _, fields := range []stream.Header{header("X-Forwarded-For", list), header("Forwarded", forwarded)} {
			req := request(balancer)
			req.Header = fields
			first, _ := serve(t, cfg, req)
			if !first.Client.IsValid() || first.Client.Is4In6() || first.Client.Zone() != "" {
				t.Fatalf("%q, %q: client %s", list, forwarded, first.Client)
			}
			way := all(first, "X-Forwarded-For")
			if strings.Count(way, ",") >= maxHops-1 {
				continue // the next hop does not see all of it
			}
			for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
				again := request("10.0.0.8:1", name+": "+all(first, name))
				second, _ := serve(t, cfg, again)
				if second.Client != first.Client {
					t.Fatalf("%s %q: client %s, and for the next Weir %s", name, all(first, name), first.Client, second.Client)
				}
				if got := all(second, "X-Forwarded-For"); got != way+", 10.0.0.8" {
					t.Fatalf("%s %q: the next Weir writes %q", name, way, got)
				}
			}
		}
	})
}

func header(name, value string) (h stream.Header) {
	h.Add(name, value)
	return h
}

// prepared is a stage behind which nothing allocates, and a request for it.
func prepared(t testing.TB, cfg Config, peer string, fields ...string) (run func()) {
	resp := filtertest.Response(200, "")
	stage := New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil }), cfg)
	head := filtertest.Header(append([]string{
		"User-Agent: x", "Accept: */*", "Accept-Language: de", "X-Tenant: a", "Cookie: a=b", "Sec-Fetch-Mode: cors",
	}, fields...)...)
	req := request(peer)
	req.Target.Port = "8443"
	req.Header.Grow(24)
	return func() {
		req.Header.Reset()
		for _, f := range head.Fields() {
			req.Header.Append(f)
		}
		req.Client = netip.Addr{}
		if _, err := stage.Serve(context.Background(), req); err != nil || !req.Client.IsValid() {
			t.Fatal(err, req.Client)
		}
	}
}

func TestAllocs(t *testing.T) {
	full := Config{Trust: trusting().Trust, RFC7239: true, Via: "weir"}
	for name, run := range map[string]func(){
		"usual":    prepared(t, Config{}, stranger),
		"full":     prepared(t, full, stranger, "X-Forwarded-For: 1.1.1.1", "X_Real_IP: 1.1.1.1"),
		"balancer": prepared(t, full, balancer, "X-Forwarded-For: 203.0.113.5", "X-Forwarded-Host: a:1", "X-Request-Id: a"),
	} {
		if n := testing.AllocsPerRun(100, run); n > 1 {
			t.Errorf("%s: %v allocations, want 1: the text of what is written", name, n)
		}
	}
}

func BenchmarkServe(b *testing.B) {
	for name, run := range map[string]func(){
		"Usual":    prepared(b, Config{}, stranger),
		"Balancer": prepared(b, Config{Trust: trusting().Trust, RFC7239: true, Via: "weir"}, balancer, "X-Forwarded-For: 203.0.113.5"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
