package admin

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRebinding: a name that an attacker points at loopback gets nothing.
func TestRebinding(t *testing.T) {
	for _, c := range []struct {
		address string
		remote  bool
		host    string
		want    int
	}{
		{"127.0.0.1:9901", false, "127.0.0.1:9901", 200},
		{"127.0.0.1:9901", false, "127.0.0.1", 200},
		{"127.0.0.1:9901", false, "localhost:1234", 200}, // a forwarded port
		{"127.0.0.1:9901", false, "LOCALHOST.", 200},
		{"127.0.0.1:9901", false, "[::1]:9901", 200},
		{"127.0.0.1:9901", false, "[::1]", 200},
		{"127.0.0.1:9901", false, "127.9.9.9", 200},
		{"127.0.0.1:9901", false, "", 421},
		{"127.0.0.1:9901", false, "evil.example", 421},
		{"127.0.0.1:9901", false, "evil.example:9901", 421},
		{"127.0.0.1:9901", false, "localhost.evil.example", 421},
		{"127.0.0.1:9901", false, "127.0.0.1.evil.example:9901", 421},
		{"127.0.0.1:9901", false, "127.0.0.1@evil.example", 421},
		{"127.0.0.1:9901", false, "10.0.0.5:9901", 421},
		{"127.0.0.1:9901", false, "0.0.0.0:9901", 421}, // some systems lead it to loopback
		{"127.0.0.1:9901", false, "[::]:9901", 421},
		{"localhost:9901", false, "localhost:9901", 200},
		{"0.0.0.0:9901", true, "10.0.0.5:9901", 200}, // no name, no rebinding
		{"0.0.0.0:9901", true, "[2001:db8::5]:9901", 200},
		{"0.0.0.0:9901", true, "evil.example", 421},
		{"admin.internal:9901", true, "Admin.Internal:9901", 200},
		{"admin.internal:9901", true, "evil.example", 421},
		{"unix:/run/weir.sock", false, "anything", 200},
	} {
		f := &fake{}
		s := New(Config{Address: c.address, AllowRemote: c.remote, Views: f.views()})
		if got := call(s, "GET", "/routes", "Host", c.host).Code; got != c.want {
			t.Errorf("on %s, Host %q gets %d, want %d", c.address, c.host, got, c.want)
		}
		if got := call(s, "POST", "/reload", "Host", c.host).Code; got != c.want || (f.reloads == 1) != (c.want == 200) {
			t.Errorf("on %s, a reload with Host %q gets %d, want %d (%d reloads)", c.address, c.host, got, c.want, f.reloads)
		}
	}
}

// TestForgery: pages of other origins and forms change nothing.
func TestForgery(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		want   int
	}{
		{"curl", nil, 200},
		{"curl with a charset", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"same origin", []string{"Origin", "http://127.0.0.1:9901", "Sec-Fetch-Site", "same-origin"}, 200},
		{"no content type", []string{"Content-Type", ""}, 415},
		{"form", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"multipart form", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"text form", []string{"Content-Type", "text/plain"}, 415},
		{"lookalike", []string{"Content-Type", "text/plain; application/json"}, 415},
		{"lookalike 2", []string{"Content-Type", "application/json+x"}, 415},
		{"other origin", []string{"Origin", "https://evil.example"}, 403},
		{"other port", []string{"Origin", "http://127.0.0.1:8080"}, 403},
		{"no origin to speak of", []string{"Origin", "null"}, 403},
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:9901"}, 403},
		{"rebound and same origin", []string{"Host", "evil.example:9901", "Origin", "http://evil.example:9901", "Sec-Fetch-Site", "same-origin"}, 421},
	} {
		f := &fake{}
		if got := call(newServer(f), "POST", "/reload", c.fields...).Code; got != c.want || (f.reloads == 1) != (c.want == 200) {
			t.Errorf("%s gets %d, want %d (%d reloads)", c.name, got, c.want, f.reloads)
		}
	}
}

// TestReadingFromOtherOrigins: what is read cannot be made a tool either.
func TestReadingFromOtherOrigins(t *testing.T) {
	s := newServer(&fake{})
	expect(t, call(s, "GET", "/debug/pprof/heap", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403)
	expect(t, call(s, "GET", "/debug/pprof/heap", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 403)
	expect(t, call(s, "GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), 200)
	expect(t, call(s, "GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403)
	expect(t, call(s, "GET", "/routes", "Sec-Fetch-Site", "none"), 200)
	expect(t, call(s, "OPTIONS", "/reload", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"), 405)
}

func TestMethods(t *testing.T) {
	f := &fake{}
	s := newServer(f)
	for _, p := range pages {
		method, path, _ := strings.Cut(p.pattern, " ")
		for _, other := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"} {
			if other == method {
				continue
			}
			if got := call(s, other, path, "Content-Type", "application/json").Code; got != 405 {
				t.Errorf("%s %s gets %d, want 405", other, path, got)
			}
		}
	}
	if f.reloads != 0 {
		t.Error("a method that is not POST reloads")
	}
}

// TestEveryAnswerIsProtected, refusals included.
func TestEveryAnswerIsProtected(t *testing.T) {
	s := newServer(&fake{})
	for _, answer := range []*httptest.ResponseRecorder{
		call(s, "GET", "/"), call(s, "GET", "/routes"), call(s, "GET", "/metrics"), call(s, "GET", "/nothing"), call(s, "GET", "/debug/pprof/"),
		call(s, "GET", "/", "Host", "evil.example"), call(s, "POST", "/reload", "Origin", "https://evil.example"),
	} {
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := answer.Header().Get(name); got != want {
				t.Errorf("%d: %s is %q, want %q", answer.Code, name, got, want)
			}
		}
		if !strings.Contains(answer.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%d has no policy for content", answer.Code)
		}
		if answer.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d lets other origins read", answer.Code)
		}
	}
}

func TestRefusalsQuoteWhatTheyName(t *testing.T) {
	body := call(newServer(&fake{}), "GET", "/?format=text", "Host", "evil\x1b[31m<script>"+strings.Repeat("x", 1000)).Body.String()
	if strings.ContainsAny(body, "\x1b") || len(body) > 600 {
		t.Errorf("the refusal shows %q", body)
	}
}
