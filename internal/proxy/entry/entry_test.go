package entry

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The peers of the tests: the trusted ones are 10.0.0.0/8 and fd00::/8.
const (
	stranger = "192.0.2.1:50000"
	balancer = "10.0.0.9:50000"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func trusting() Config {
	return Config{Trust: prefixes("10.0.0.0/8", "fd00::/8"), Listener: "public", NewID: func() string { return "new-id" }}
}

// request comes from peer ("" for a Unix socket) to port 8080.
func request(peer string, fields ...string) *stream.Request {
	req := filtertest.Request("GET", "http://example.com/", fields...)
	req.Conn = &stream.Conn{ID: 1, Listener: "public"}
	if peer != "" {
		req.Conn.Remote, req.Conn.Local = netip.MustParseAddrPort(peer), netip.MustParseAddrPort("192.0.2.254:8080")
	}
	req.Client, req.ID = netip.Addr{}, ""
	return req
}

// serve is what the next service sees.
func serve(t testing.TB, cfg Config, req *stream.Request) (*stream.Request, *Stats) {
	t.Helper()
	var got *stream.Request
	stage := New(stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		got = req
		return filtertest.Response(200, ""), nil
	}), cfg)
	if _, err := stage.Serve(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	return got, stage.Stats()
}

func all(req *stream.Request, name string) string {
	return strings.Join(req.Header.Values(nil, name), " | ")
}

// TestClient is the way back through X-Forwarded-For and Forwarded.
func TestClient(t *testing.T) {
	far := strings.Repeat("10.0.0.1, ", 3*maxHops)
	for _, c := range []struct {
		name, peer string
		fields     []string
		client     string // "" for the zero Addr
		forwarded  string // X-Forwarded-For as sent on
	}{
		{"nobody between", stranger, nil, "192.0.2.1", "192.0.2.1"},
		{"stranger claims", stranger, []string{"X-Forwarded-For: 10.0.0.1"}, "192.0.2.1", "192.0.2.1"},
		{"stranger claims often", stranger, []string{"X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2"}, "192.0.2.1", "192.0.2.1"},
		{"balancer alone", balancer, nil, "10.0.0.9", "10.0.0.9"},
		{"one behind it", balancer, []string{"X-Forwarded-For: 203.0.113.5"}, "203.0.113.5", "203.0.113.5, 10.0.0.9"},
		{"the client's own claim is left of it", balancer, []string{"X-Forwarded-For: 127.0.0.1, 203.0.113.5"},
			"203.0.113.5", "203.0.113.5, 10.0.0.9"},
		{"two trusted", balancer, []string{"X-Forwarded-For: 203.0.113.5, 10.1.1.1"}, "203.0.113.5", "203.0.113.5, 10.1.1.1, 10.0.0.9"},
		{"repeated field", balancer, []string{"X-Forwarded-For: 6.6.6.6, 203.0.113.5", "X-FORWARDED-FOR: 10.1.1.1"},
			"203.0.113.5", "203.0.113.5, 10.1.1.1, 10.0.0.9"},
		{"all trusted", balancer, []string{"X-Forwarded-For: 10.2.2.2, 10.1.1.1"}, "10.2.2.2", "10.2.2.2, 10.1.1.1, 10.0.0.9"},
		{"malformed at the right", balancer, []string{"X-Forwarded-For: 203.0.113.5, x"}, "10.0.0.9", "10.0.0.9"},
		{"malformed in the middle", balancer, []string{"X-Forwarded-For: 203.0.113.5, unknown, 10.1.1.1"}, "10.1.1.1", "10.1.1.1, 10.0.0.9"},
		{"empty elements", balancer, []string{"X-Forwarded-For: , 203.0.113.5 ,\t,"}, "203.0.113.5", "203.0.113.5, 10.0.0.9"},
		{"empty field", balancer, []string{"X-Forwarded-For:"}, "10.0.0.9", "10.0.0.9"},
		{"with ports", balancer, []string{"X-Forwarded-For: 203.0.113.5:1234, [fd00::1]:80"},
			"203.0.113.5", "203.0.113.5, fd00::1, 10.0.0.9"},
		{"IPv6", balancer, []string{"X-Forwarded-For: 2001:DB8::0:1, [fd00::1]"}, "2001:db8::1", "2001:db8::1, fd00::1, 10.0.0.9"},
		{"mapped entry (Go CVE-2024-24790)", balancer, []string{"X-Forwarded-For: 203.0.113.5, ::ffff:10.1.1.1"},
			"203.0.113.5", "203.0.113.5, 10.1.1.1, 10.0.0.9"},
		{"mapped peer (Go CVE-2024-24790)", "[::ffff:10.0.0.9]:1", []string{"X-Forwarded-For: 203.0.113.5"},
			"203.0.113.5", "203.0.113.5, 10.0.0.9"},
		{"embedded forms are other addresses", balancer, []string{"X-Forwarded-For: 203.0.113.5, 64:ff9b::a01:101, 2002:a01:101::"},
			"2002:a01:101::", "2002:a01:101::, 10.0.0.9"},
		{"zone (Go CVE-2025-22870)", balancer, []string{"X-Forwarded-For: 203.0.113.5, fd00::1%eth0"}, "10.0.0.9", "10.0.0.9"},
		{"zone of the peer", "[fe80::1%eth0]:1", nil, "fe80::1", "fe80::1"},
		{"octal is no address", balancer, []string{"X-Forwarded-For: 010.1.1.1"}, "10.0.0.9", "10.0.0.9"},
		{"list without end", balancer, []string{"X-Forwarded-For: 203.0.113.5, " + far + "10.0.0.1"}, "10.0.0.1",
			strings.Repeat("10.0.0.1, ", maxHops-1) + "10.0.0.9"},
		{"Unix socket", "", []string{"X-Forwarded-For: 203.0.113.5"}, "203.0.113.5", "203.0.113.5"},
		{"Unix socket, nothing said", "", nil, "", ""},
	} {
		got, _ := serve(t, trusting(), request(c.peer, c.fields...))
		client := ""
		if got.Client.IsValid() {
			client = got.Client.String()
		}
		if client != c.client || all(got, "X-Forwarded-For") != c.forwarded || all(got, "X-Real-IP") != c.client {
			t.Errorf("%s: client %s, X-Real-IP %s, X-Forwarded-For %q, want %s and %q",
				c.name, client, all(got, "X-Real-IP"), all(got, "X-Forwarded-For"), c.client, c.forwarded)
		}
	}
}

func TestTrustIsClosedByDefault(t *testing.T) {
	for _, peer := range []string{stranger, balancer, "127.0.0.1:1", "[::1]:1", ""} {
		got, _ := serve(t, Config{}, request(peer, "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https",
			"X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Request-Id: chosen", "X-Real-IP: 1.1.1.1"))
		for _, f := range got.Header.Fields() {
			if strings.Contains(f.Value, "1.1.1.1") || f.Value == "https" || f.Value == "evil" || f.Value == "1" || f.Value == "chosen" {
				t.Errorf("from %q: %s: %s is believed", peer, f.Name, f.Value)
			}
		}
	}
}

func TestMappedPrefix(t *testing.T) {
	cfg := Config{Trust: prefixes("::ffff:10.0.0.0/104")}
	got, _ := serve(t, cfg, request(balancer, "X-Forwarded-For: 203.0.113.5"))
	if got.Client.String() != "203.0.113.5" {
		t.Errorf("client %s: a mapped range does not cover its IPv4 addresses", got.Client)
	}
}

func TestWritten(t *testing.T) {
	tls := &stream.TLS{}
	for _, c := range []struct {
		name   string
		cfg    Config
		change func(*stream.Request)
		peer   string
		fields []string
		want   string
	}{
		{"plain", Config{}, nil, stranger, nil,
			"X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
		{"behind what the client sent", Config{}, nil, stranger, []string{"Accept: */*", "X-Other: a"},
			"Accept: */*|X-Other: a|X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
		{"TLS", Config{}, func(r *stream.Request) { r.Conn.TLS = tls }, stranger, nil,
			"X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Host: example.com|X-Forwarded-Proto: https|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
		{"port in the host, no host", Config{}, func(r *stream.Request) { r.Target.Port = "81" }, stranger, nil,
			"X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Host: example.com:81|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
		{"1.0 without host", Config{Via: "weir"}, func(r *stream.Request) { r.Target.Host, r.Proto = "", stream.HTTP10 }, stranger, nil,
			"X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|Via: 1.0 weir|X-Request-Id: new-id"},
		{"Via is appended", Config{Via: "weir"}, nil, stranger, []string{"Via: 1.0 fred, 1.1 weir"},
			"Via: 1.0 fred, 1.1 weir|X-Forwarded-For: 192.0.2.1|X-Real-IP: 192.0.2.1|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|Via: 1.1 weir|X-Request-Id: new-id"},
		{"Unix socket", Config{RFC7239: true}, nil, "", nil,
			"X-Forwarded-Host: example.com|X-Forwarded-Proto: http|Forwarded: for=unknown;host=example.com;proto=http|X-Request-Id: new-id"},
		{"Forwarded", Config{RFC7239: true}, nil, "[2001:db8::1]:1", []string{"Forwarded: for=1.1.1.1"},
			`X-Forwarded-For: 2001:db8::1|X-Real-IP: 2001:db8::1|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|Forwarded: for="[2001:db8::1]";host=example.com;proto=http|X-Request-Id: new-id`},
		{"believed", Config{RFC7239: true, Trust: trusting().Trust}, nil, balancer, []string{
			"X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: Shop.example:8443",
			"X-Forwarded-Port: 443", "X-Forwarded-Prefix: /shop", "X-Request-Id: a.b-c_9", "Forwarded: for=6.6.6.6"},
			`X-Forwarded-Prefix: /shop|X-Forwarded-For: 203.0.113.5, 10.0.0.9|X-Real-IP: 203.0.113.5|X-Forwarded-Host: shop.example:8443|X-Forwarded-Proto: https|X-Forwarded-Port: 443|Forwarded: for=203.0.113.5;host="shop.example:8443";proto=https, for=10.0.0.9|X-Request-Id: a.b-c_9`},
		{"not believed as it is malformed or stands twice", trusting(), nil, balancer, []string{
			"X-Forwarded-Proto: ftp", "X-Forwarded-Host: a b", "X-Forwarded-Port: 0", "X-Request-Id: a", "X-Request-Id: b"},
			"X-Forwarded-For: 10.0.0.9|X-Real-IP: 10.0.0.9|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
		{"not believed as it is a list (Envoy CVE-2026-26308)", trusting(), nil, balancer, []string{
			"X-Forwarded-Proto: https, http", "X-Forwarded-Host: a,b", "X-Forwarded-Port: 1,2", "X-Request-Id: " + strings.Repeat("a", 129)},
			"X-Forwarded-For: 10.0.0.9|X-Real-IP: 10.0.0.9|X-Forwarded-Host: example.com|X-Forwarded-Proto: http|X-Forwarded-Port: 8080|X-Request-Id: new-id"},
	} {
		req := request(c.peer, c.fields...)
		if c.change != nil {
			c.change(req)
		}
		c.cfg.NewID = trusting().NewID
		got, _ := serve(t, c.cfg, req)
		if text := strings.Join(filtertest.Lines(&got.Header), "|"); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, text, c.want)
		}
		if id, _ := got.Header.GetID(stream.XRequestID); got.ID != id {
			t.Errorf("%s: the id is %q, X-Request-Id %q", c.name, got.ID, id)
		}
	}
}

// TestSpoof is the spoof matrix of threats.md section 5: whatever way a
// stranger writes an owned field, the upstream sees Weir's or none.
func TestSpoof(t *testing.T) {
	const forged = "forged"
	names := []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
		"X-Forwarded-Uri", "X-Real-IP", "Forwarded", "X-Request-Id", "X-Client-Cert-Subject", "X-Forwarded-Client-Cert",
		"X-Weir-Tenant", "X-Original-URL", "True-Client-IP", "Client-Cert", "Proxy",
	}
	spellings := map[string]func(string) []string{
		"as it is":  func(n string) []string { return []string{n + ": " + forged} },
		"lower":     func(n string) []string { return []string{strings.ToLower(n) + ": " + forged} },
		"upper":     func(n string) []string { return []string{strings.ToUpper(n) + ": " + forged} },
		"_ for -":   func(n string) []string { return []string{strings.ReplaceAll(n, "-", "_") + ": " + forged} },
		"one _":     func(n string) []string { return []string{strings.Replace(n, "-", "_", 1) + ": " + forged} },
		"dot for -": func(n string) []string { return []string{strings.ReplaceAll(n, "-", ".") + ": " + forged} },
		"twice":     func(n string) []string { return []string{n + ": a", "Accept: */*", n + ": " + forged} },
		"empty":     func(n string) []string { return []string{n + ":", n + ": " + forged} },
		"list":      func(n string) []string { return []string{n + ": a, " + forged} },
	}
	for _, name := range names {
		for spelling, fields := range spellings {
			in := fields(name)
			got, stats := serve(t, trusting(), request(stranger, in...))
			other := 0
			for _, f := range got.Header.Fields() {
				if strings.Contains(f.Value, forged) || f.Value == "a" || f.Value == "" {
					t.Errorf("%s, %s: %s: %q reaches the upstream", name, spelling, f.Name, f.Value)
				}
				if f.Name == "Accept" {
					other++
				}
			}
			// No field is dropped silently: count-in = count-out + removals.
			if want := int64(len(in) - other); stats.Stripped.Load() != want {
				t.Errorf("%s, %s: %d removals counted, want %d", name, spelling, stats.Stripped.Load(), want)
			}
		}
		if !stream.Owned(name) || !stream.Owned(strings.ReplaceAll(name, "-", "_")) {
			t.Errorf("%s would pass in a trailer", name)
		}
	}
}

// A trusted peer vouches for addresses, not for identities, and not in
// spellings that only upstreams fold.
func TestTrustedPeerIsNoIdentity(t *testing.T) {
	got, stats := serve(t, trusting(), request(balancer,
		"X-Client-Cert: a", "X-Forwarded-Client-Cert: b", "X_Forwarded_For: 1.1.1.1", "X_Forwarded_Prefix: c",
		"X-Weir-Route: d", "X-Forwarded-Prefix: /kept", "X_Other: kept"))
	var kept []string
	for _, line := range filtertest.Lines(&got.Header) {
		if !strings.Contains(line, "X-Forwarded-") && !strings.Contains(line, "X-Re") || strings.Contains(line, "Prefix") {
			kept = append(kept, line)
		}
	}
	if text := strings.Join(kept, "|"); text != "X-Forwarded-Prefix: /kept|X_Other: kept" || stats.Stripped.Load() != 5 {
		t.Errorf("kept %s, %d removals", text, stats.Stripped.Load())
	}
}

// Fields that nobody owns pass untouched and in order (threats.md section 1).
func TestOthersPass(t *testing.T) {
	in := []string{"Authorization: Bearer x", "Cookie: a=b", "cookie: c=d", "X_Team: 1", "X-Team: 2", "Via: 1.0 a", "Accept:"}
	got, stats := serve(t, Config{}, request(stranger, in...))
	lines := filtertest.Lines(&got.Header)
	if text := strings.Join(lines[:len(in)], "|"); text != "Authorization: Bearer x|Cookie: a=b|cookie: c=d|X_Team: 1|X-Team: 2|Via: 1.0 a|Accept: " {
		t.Errorf("passed %s", text)
	}
	if n := stats.Stripped.Load(); n != 0 {
		t.Errorf("%d removals", n)
	}
}

func TestLoop(t *testing.T) {
	own := strings.Repeat("1.1 weir (x), ", maxOwnVia-1)
	got, _ := serve(t, Config{Via: "weir"}, request(stranger, "Via: "+own+"1.1 weird, weir, HTTP/1.1 WEIR"))
	if all(got, "Via") == "" {
		t.Error("Via is gone")
	}
	stage := New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		t.Error("the request goes round once more")
		return nil, nil
	}), Config{Via: "weir", Listener: "public"})
	body := &closer{Body: stream.NoBody}
	req := request(stranger, "Via: "+own+"1.1 weir", "via: 2 Weir")
	req.Body = body
	_, err := stage.Serve(context.Background(), req)
	if f := stream.AsFault(err); f.Kind != stream.LoopDetected || stage.Stats().Loops.Load() != 1 || !body.closed {
		t.Errorf("%v, %d loops, body closed: %v", err, stage.Stats().Loops.Load(), body.closed)
	}
}

type closer struct {
	stream.Body
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestOwnID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	seen := map[string]bool{}
	for range 1000 {
		got, _ := serve(t, Config{}, request(stranger))
		if !form.MatchString(got.ID) || seen[got.ID] {
			t.Fatalf("id %q has another form or came before", got.ID)
		}
		seen[got.ID] = true
	}
}
