package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

func stickyFixture(n int, s *config.Sticky) *fixture {
	return newFixture(n, func(c *Config) { c.Sticky = s })
}

func cookieSticky() *config.Sticky {
	c := config.Default[config.StickyCookie]()
	return &config.Sticky{Cookie: &c}
}

// visit sends a request with a Cookie field, or without, and gives what the
// response sets and where it came from.
func (f *fixture) visit(t *testing.T, s stream.Service, cookie string) (setCookie, at string) {
	t.Helper()
	req := request("GET")
	if cookie != "" {
		req.Header.Add("Cookie", "theme=dark; "+cookie)
	}
	resp, err := s.Serve(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	setCookie, _ = resp.Header.Get("Set-Cookie")
	return setCookie, req.Exchange.Endpoint
}

// pair is name=value of a Set-Cookie.
func pair(setCookie string) string {
	p, _, _ := strings.Cut(setCookie, ";")
	return p
}

// TestStickyCookie is the life of a session: it begins, is kept, loses its
// endpoint, is taken over, and stays there when the first one comes back.
func TestStickyCookie(t *testing.T) {
	f := stickyFixture(3, cookieSticky())
	s := f.ForRoute(retries(2, "connect"))
	first, at := f.visit(t, s, "")
	if at != "a" || !strings.HasSuffix(first, "; Path=/; HttpOnly; SameSite=Lax") || strings.Contains(first, "api") {
		t.Fatalf("%q from %s", first, at)
	}
	if again, at := f.visit(t, s, pair(first)); again != "" || at != "a" {
		t.Errorf("the session is told again: %q from %s", again, at)
	}
	f.up[0].ep.Checked(false, endpoint.ByAnswer, "test", time.Now())
	second, at := f.visit(t, s, pair(first))
	if at != "b" || second == "" || pair(second) == pair(first) || f.Stats.SessionsLost.Load() != 1 {
		t.Fatalf("%q from %s, %d lost", second, at, f.Stats.SessionsLost.Load())
	}
	f.up[0].ep.Checked(true, endpoint.ByAnswer, "", time.Now())
	if again, at := f.visit(t, s, pair(second)); again != "" || at != "b" {
		t.Errorf("the session did not stay where it went: %q from %s", again, at)
	}
	if other, at := f.visit(t, s, "weir_00000000=xyz"); at != "a" || pair(other) != pair(first) {
		t.Errorf("a cookie of somebody else: %q from %s", other, at)
	}
	if other, at := f.visit(t, s, pair(first)+"x"); at != "a" || pair(other) != pair(first) {
		t.Errorf("a token that nobody made: %q from %s", other, at)
	}
	f.quiet(t)
}

// TestStickySurvives: another cluster of the same name makes the same tokens, and
// one of another name, or for another endpoint, makes others.
func TestStickySurvives(t *testing.T) {
	one, two := stickyFixture(2, cookieSticky()), stickyFixture(2, cookieSticky())
	cookie, _ := one.visit(t, one.ForRoute(retries(1)), "")
	one.up[0].ep.Checked(false, endpoint.ByAnswer, "test", time.Now())
	atB, at := one.visit(t, one.ForRoute(retries(1)), "")
	if at != "b" || atB == cookie {
		t.Fatalf("%q from %s", atB, at)
	}
	if again, at := two.visit(t, two.ForRoute(retries(1)), pair(atB)); again != "" || at != "b" {
		t.Errorf("after a restart: %q from %s", again, at)
	}
	named := newFixture(2, func(c *Config) { c.Sticky = cookieSticky(); c.Label.Name = "other" })
	other, _ := named.visit(t, named.ForRoute(retries(1)), "")
	name, token, _ := strings.Cut(pair(cookie), "=")
	if otherName, otherToken, _ := strings.Cut(pair(other), "="); otherName == name || otherToken == token {
		t.Errorf("two clusters: %s and %s", pair(cookie), pair(other))
	}
	// Another hash would move every session with the next release.
	if want := "weir_fdad0bf2=7aYs8Wl1qDz6noOG"; pair(cookie) != want {
		t.Errorf("%s, want %s as ever", pair(cookie), want)
	}
}

// TestStickyRetry: the session goes along to the endpoint that answered.
func TestStickyRetry(t *testing.T) {
	f := stickyFixture(2, cookieSticky())
	s := f.ForRoute(retries(2, "connect"))
	cookie, _ := f.visit(t, s, "")
	f.up[0].fails(stream.ConnectRefused, stream.RetryUnsent)
	next, at := f.visit(t, s, pair(cookie))
	if at != "b" || next == "" {
		t.Errorf("%q from %s", next, at)
	}
	f.up[1].always(503)
	if failed, at := f.visit(t, s, ""); failed != "" || at != "b" {
		t.Errorf("a session began with a failure: %q from %s", failed, at)
	}
}

// TestStickyDrains: an endpoint without weight keeps its sessions.
func TestStickyDrains(t *testing.T) {
	f := stickyFixture(2, cookieSticky())
	s := f.ForRoute(retries(1))
	cookie, _ := f.visit(t, s, "")
	next, _ := f.Endpoints().Update([]endpoint.Spec{
		{Network: "tcp", Address: "a", Weight: 0}, {Network: "tcp", Address: "b", Weight: 1},
	}, nil)
	f.SetEndpoints(next)
	if again, at := f.visit(t, s, pair(cookie)); again != "" || at != "a" {
		t.Errorf("%q from %s", again, at)
	}
}

func TestStickyHeader(t *testing.T) {
	f := stickyFixture(2, &config.Sticky{Header: "X-Session-Endpoint"})
	s := f.ForRoute(retries(1))
	ask := func(token string) (string, string) {
		req := request("GET")
		if token != "" {
			req.Header.Add("X-Session-Endpoint", token)
		}
		resp, err := s.Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got, _ := resp.Header.Get("X-Session-Endpoint")
		return got, req.Exchange.Endpoint
	}
	f.up[0].ep.Checked(false, endpoint.ByAnswer, "test", time.Now())
	token, at := ask("")
	f.up[0].ep.Checked(true, endpoint.ByAnswer, "", time.Now())
	if again, there := ask(token); token == "" || again != "" || at != "b" || there != "b" {
		t.Errorf("%q from %s, then %q from %s", token, at, again, there)
	}
}

func TestStickyAttributes(t *testing.T) {
	cases := []struct {
		change func(c *config.StickyCookie)
		scheme string
		want   string
	}{
		{func(*config.StickyCookie) {}, "http", "; Path=/; HttpOnly; SameSite=Lax"},
		{func(*config.StickyCookie) {}, "https", "; Path=/; HttpOnly; SameSite=Lax; Secure"},
		{func(c *config.StickyCookie) { c.Secure = "never" }, "https", "; Path=/; HttpOnly; SameSite=Lax"},
		{func(c *config.StickyCookie) { c.Secure, c.SameSite = "always", "none" }, "http", "; Path=/; HttpOnly; SameSite=None; Secure"},
		{func(c *config.StickyCookie) {
			c.TTL, c.Path, c.HTTPOnly, c.SameSite = config.Duration(time.Hour), "/app", false, "strict"
		}, "http", "; Path=/app; Max-Age=3600; SameSite=Strict"},
	}
	for i, c := range cases {
		cfg := cookieSticky()
		cfg.Cookie.Name = "shop"
		c.change(cfg.Cookie)
		f := stickyFixture(1, cfg)
		req := request("GET")
		req.Target.Scheme = c.scheme
		resp, err := f.ForRoute(retries(1)).Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got, _ := resp.Header.Get("Set-Cookie")
		if name, attributes, _ := strings.Cut(got, ";"); !strings.HasPrefix(name, "shop=") || ";"+attributes != c.want {
			t.Errorf("case %d: %q, want %q", i, got, c.want)
		}
	}
}

// TestAllocsSticky: a session that goes on costs nothing; one that begins, the room
// in the header.
func TestAllocsSticky(t *testing.T) {
	f := stickyFixture(2, cookieSticky())
	s := f.ForRoute(retries(1)).(*service)
	cookie, _ := f.visit(t, s, "")
	req := request("GET")
	req.Header.Add("Cookie", pair(cookie))
	resp := &stream.Response{Status: 200}
	now := time.Now()
	x := exchange{service: s, req: req}
	if n := testing.AllocsPerRun(100, func() {
		if x.ep = x.session(now); x.ep == nil {
			t.Fatal("no session")
		}
		x.keepSession(resp)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
