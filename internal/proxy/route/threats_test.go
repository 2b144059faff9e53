package route

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// TestThreats has the rows of the threat study, section 4 ("Path, host and
// query seen differently by different stages"), that meet in routing: requests
// as a client spells them go through the parser of the edge, and the guarded
// route must take every spelling of what it guards, or the edge refuse it.
func TestThreats(t *testing.T) {
	many := []any{host("admin.example.com")}
	for i := range 300 { // Caddy CVE-2026-27588: large lists took another way than small ones
		many = append(many, host("x"+name(i)+".example.com"))
	}
	admin, open := is("admin", "1"), entry("open")
	cases := []struct {
		row     string
		guarded []any
		lines   []string // guarded or refused, never open
		open    []string // something else, and so open
	}{
		{
			"encoding: CVE-2023-47106, CVE-2025-32431, CVE-2025-47952, CVE-2025-66490, CVE-2026-27587",
			[]any{path("/admin")},
			[]string{
				"/admin", "/%61dmin", "/%61%64%6D%69%6e/x", "/x/../admin", "/x/%2e%2e/admin", "/x/%2E%2e/admin/",
				"/./admin", "/%2e/admin", "//admin", "///admin//x", "/admin/.", "/x%2F..%2Fadmin", "/%2Fadmin", "/admin%2F..%2Fx",
				"/admin%5Cx", `/x\..\admin`, "/x/..;/admin", "/.;/admin", "/x/.%3B/admin", "/admin%00", "/x/%c0%ae%c0%ae/admin",
				"/admin/%2e%2e/admin", "http://h/admin",
			},
			[]string{"/%2561dmin", "/Admin", "/adm\u0131n", "/admin;x", "/administrator"},
		},
		{
			"Unicode case folding: CVE-2026-27590, CVE-2026-45135",
			[]any{path("/kelvin")},
			[]string{"/kelvin", "/%6Belvin"},
			[]string{"/\u212Aelvin", "/%E2%84%AAelvin"},
		},
		{
			"templates, the same spellings",
			[]any{path("{/users/{id}/admin")},
			[]string{"/users/1/admin", "/users/1/x/../admin", "/users//1/admin", "/users/%31/%61dmin", "/users/1%2Fadmin"},
			[]string{"/users/1/2/admin", "/users/admin"},
		},
		{
			"regexes match the whole canonical path: CVE-2026-73552",
			[]any{path("~/admin|/admin/.*")},
			[]string{"/admin", "/admin/x", "/x/../admin", "/%61dmin/%0Ax", "/admin/x%0A"},
			[]string{"/x/admin", "/administrator"},
		},
		{
			"missing leading slash: CVE-2026-33186",
			[]any{path("/pkg.Svc/M")},
			[]string{"pkg.Svc/M", "", "*", "http:/pkg.Svc/M", "/pkg.Svc/M"},
			nil,
		},
		{
			"query hidden from policy: CVE-2022-2880, CVE-2026-39825",
			[]any{query(admin)},
			[]string{"/?admin=1", "/?%61dmin=1", "/?admin=%31", "/?x&admin=1&admin=2", "/?&&admin=1", "/?admin=1&%zz", "/?" + strings.Repeat("a&", 2000) + "admin=1"},
			[]string{"/?admin=2&admin=1", "/?x;admin=1", "/?Admin=1"},
		},
	}
	for _, c := range cases {
		t.Run(c.row, func(t *testing.T) {
			table := Build([]Entry{entry("guarded", c.guarded...), open})
			for _, raw := range c.lines {
				if got := edge(table, raw, "h"); got == "open" {
					t.Errorf("%q is open", raw)
				}
			}
			for _, raw := range c.open {
				if got := edge(table, raw, "h"); got == "guarded" {
					t.Errorf("%q is guarded", raw)
				}
			}
		})
	}
	t.Run("host matching: CVE-2026-27588, CVE-2025-47912, CVE-2026-25679, CVE-2026-26310", func(t *testing.T) {
		table := Build([]Entry{entry("guarded", append(many, host("[2001:db8::1]"))...), open})
		for _, h := range []string{
			"admin.example.com", "ADMIN.Example.COM", "admin.example.com.", "admin.example.com:8080", "Admin.example.com.:80",
			"[2001:db8::1]", "[2001:DB8::1]:443", "[2001:db8:0:0:0:0:0:1]", "[2001:db8::1%25eth0]", "[2001:db8::1%eth0]",
			"admin.example.com:80@evil", "admin.example.com/", "admin..example.com", "\u0430dmin.example.com",
		} {
			if got := edge(table, "/", h); got == "open" {
				t.Errorf("Host %q is open", h)
			}
		}
		if got := edge(table, "http://admin.example.com/", "other.example.com"); got == "open" {
			t.Error("an absolute-form target that differs from Host is open")
		}
		if got := edge(table, "/", "xn--dmin-53d.example.com"); got != "open" { // its own name, not admin
			t.Errorf("punycode of a name that only looks like it: %q", got)
		}
	})
	t.Run("IP classification: CVE-2024-24790, CVE-2025-22870", func(t *testing.T) {
		for _, c := range []struct {
			ranges, client string
			want           bool
		}{
			{"10.0.0.0/8", "10.1.2.3", true},
			{"10.0.0.0/8", "::ffff:10.1.2.3", true},
			{"::ffff:10.0.0.0/104", "10.1.2.3", true},
			{"10.1.2.3/8", "10.9.9.9", true}, // host bits in the document
			{"fe80::/10", "fe80::1%eth0", true},
			{"::/0", "10.1.2.3", false},
			{"10.0.0.0/8", "2002:0a01:0203::", false},  // 6to4 is another client
			{"10.0.0.0/8", "64:ff9b::10.1.2.3", false}, // and so is NAT64
			{"10.0.0.0/8", "::10.1.2.3", false},        // IPv4-compatible
			{"2001:db8::/32", "::ffff:10.1.2.3", false},
		} {
			req := request(t, "GET h /")
			req.Client = netip.MustParseAddr(c.client)
			got := found(Build([]Entry{entry("r", netip.MustParsePrefix(c.ranges))}), req) != ""
			if got != c.want {
				t.Errorf("%s in %s: %v", c.client, c.ranges, got)
			}
		}
		if found(Build([]Entry{entry("r", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))}), request(t, "GET h /")) != "" {
			t.Error("a client without an address is in a range")
		}
	})
	t.Run("names are data: CVE-2026-39350, CVE-2026-29777", func(t *testing.T) {
		for _, odd := range []string{"a.b", "a*", "(a|b)", "a`b", "${x}", "{env.HOME}"} {
			table := Build([]Entry{entry("r", header(is("x-user", odd)))})
			for value, want := range map[string]bool{odd: true, "axb": false, "a": false} {
				if got := found(table, request(t, "GET h /", "x-user: "+value)) != ""; got != want {
					t.Errorf("%q on %q: %v", value, odd, got)
				}
			}
		}
	})
	t.Run("repeated headers and policy: CVE-2026-26308", func(t *testing.T) {
		guarded := Build([]Entry{entry("guarded", header(is("x-role", "user")))})
		for _, headers := range [][]string{{"x-role: user", "x-role: admin"}, {"x-role: admin", "x-role: user"}} {
			if found(guarded, request(t, "GET h /", headers...)) != "" {
				t.Errorf("%v passes for x-role: user", headers)
			}
		}
	})
	t.Run("nothing is expanded twice: CVE-2026-30852", func(t *testing.T) {
		s, err := NewRedirect(config.Redirect{Path: text("/new/{a}")}, snapshot.Match{Path: template("/old/{a}")})
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range []string{"/old/%7Ba%7D", "/old/%7Benv.HOME%7D", "/old/$%7Ba%7D"} {
			resp, _ := serve(t, s, request(t, "GET h "+raw))
			if got, _ := resp.Header.GetID(stream.Location); got != "http://h/new"+strings.TrimPrefix(raw, "/old") {
				t.Errorf("%s leads to %s", raw, got)
			}
		}
	})
}

// edge is the route of a target as a client spells it, or "refused".
func edge(table *Table, raw, host string) string {
	target, fault := stream.ParseTarget("http", "GET", raw, host)
	if fault != nil {
		return "refused"
	}
	return found(table, &stream.Request{Method: "GET", Target: target, Body: stream.NoBody})
}
