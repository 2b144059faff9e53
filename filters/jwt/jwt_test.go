package jwt_test

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/jwt"
	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const iss = "https://idp.test/"

// house is a filter with one issuer, whose keys stand in the settings.
type house struct {
	*filtertest.House
	key  jwttest.Key
	next *filtertest.Next
	last *stream.Caller // of the last request that was let through
	stream.Service
}

// build makes the filter; more are settings beside the issuer, one each line.
func build(t *testing.T, more ...string) *house {
	t.Helper()
	h := &house{House: &filtertest.House{}, key: jwttest.EC(t, "k", elliptic.P256())}
	h.next = &filtertest.Next{}
	service := filtertest.BuildIn(t, h.House, jwt.Definition(), h.settings(more...), stream.ServiceFunc(
		func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			h.last = req.Caller
			return h.next.Serve(ctx, req)
		}))
	h.Service = service
	return h
}

func (h *house) settings(more ...string) string {
	return fmt.Sprintf("issuers: [{issuer: %q, audiences: [shop, api], keys: {inline: '%s'}}]\n", iss, jwttest.Set(h.key.JWK())) + strings.Join(more, "\n")
}

// token has the claims that every good one has, with others in their place.
func (h *house) token(t *testing.T, more ...string) string {
	t.Helper()
	return h.key.Claims(t, "ES256", claims(more...))
}

func claims(more ...string) string {
	now := time.Now().Unix()
	m := map[string]string{"iss": fmt.Sprintf("%q", iss), "aud": `"shop"`, "sub": `"anna"`, "exp": fmt.Sprint(now + 3600), "iat": fmt.Sprint(now)}
	order := []string{"iss", "aud", "sub", "exp", "iat"}
	for i := 0; i+1 < len(more); i += 2 {
		if _, known := m[more[i]]; !known {
			order = append(order, more[i])
		}
		m[more[i]] = more[i+1]
	}
	var pairs []string
	for _, name := range order {
		if m[name] != "" {
			pairs = append(pairs, fmt.Sprintf("%q:%s", name, m[name]))
		}
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// ask sends a request and returns what reached the upstream, or the fault.
func (h *house) ask(t *testing.T, fields ...string) (*filtertest.Sent, *stream.Fault) {
	t.Helper()
	return h.serve(t, filtertest.Request("GET", "http://h/", fields...))
}

func (h *house) serve(t *testing.T, req *stream.Request) (*filtertest.Sent, *stream.Fault) {
	t.Helper()
	h.last = nil
	before := len(h.next.Got)
	resp, err := h.Serve(t.Context(), req)
	if err != nil {
		if len(h.next.Got) != before {
			t.Error("a refused request reached the upstream")
		}
		return nil, stream.AsFault(err)
	}
	resp.Body.Close()
	return h.next.Got[len(h.next.Got)-1], nil
}

// TestGood: who asks is known behind the filter, and the token does not go on.
func TestGood(t *testing.T) {
	h := build(t)
	for range 2 { // verified, then remembered
		sent, fault := h.ask(t, bearer(h.token(t)), "X-Other: 1")
		if fault != nil {
			t.Fatal(fault)
		}
		if got := filtertest.Lines(&sent.Header); len(got) != 1 || got[0] != "X-Other: 1" {
			t.Errorf("the upstream gets %q", got)
		}
		if c := h.last; c == nil || c.Claims.Subject != "anna" || c.Claims.Issuer != iss {
			t.Errorf("behind the filter the caller is %+v", c)
		}
	}
	if got := h.Counted(`weir_jwt_requests_total{result="verified"}`); got != 2 {
		t.Errorf("%d are counted", got)
	}
}

// TestRefusals is every way in which a token is not good (RFC 7519 section 7.2,
// RFC 8725 section 3), with the answer of RFC 6750 section 3.1.
func TestRefusals(t *testing.T) {
	h := build(t, "max_token: 2048", "scopes: [read]", "require: [{claim: tenant, values: [acme]}, {claim: /a/b}]")
	other := jwttest.EC(t, "k", elliptic.P256())
	unix := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	full := []string{"scope", `"read write"`, "tenant", `"acme"`, "a", `{"b":1}`}
	of := func(more ...string) string {
		return bearer(h.token(t, append(append([]string{}, full...), more...)...))
	}
	if _, fault := h.ask(t, of()); fault != nil {
		t.Fatalf("a token with everything: %v", fault)
	}
	signed := func(header string) string { return bearer(h.key.Token(t, "ES256", header, claims(full...))) }
	for word, c := range map[string]struct {
		kind   stream.Kind
		code   string // of RFC 6750; "": none
		fields []string
	}{
		"missing 1":        {stream.Unauthenticated, "", nil},
		"missing 2":        {stream.Unauthenticated, "", []string{"Authorization: Basic YTpi"}},
		"missing 3":        {stream.Unauthenticated, "", []string{"X-Token: " + h.token(t)}},
		"repeated":         {stream.RequestMalformed, "invalid_request", []string{of(), of()}},
		"malformed 1":      {stream.Unauthenticated, "invalid_token", []string{"Authorization: Bearer "}},
		"malformed 2":      {stream.Unauthenticated, "invalid_token", []string{"Authorization: Bearer"}},
		"malformed 3":      {stream.Unauthenticated, "invalid_token", []string{of() + " " + h.token(t)}},
		"malformed 4":      {stream.Unauthenticated, "invalid_token", []string{of("exp", `"1"`)}},
		"malformed 5":      {stream.Unauthenticated, "invalid_token", []string{of("aud", `{}`)}},
		"too_large":        {stream.Unauthenticated, "invalid_token", []string{bearer(strings.Repeat("a", 2049))}},
		"encrypted":        {stream.Unauthenticated, "invalid_token", []string{bearer("a.b.c.d.e")}},
		"critical":         {stream.Unauthenticated, "invalid_token", []string{signed(`{"alg":"ES256","kid":"k","crit":["x"],"x":1}`)}},
		"type":             {stream.Unauthenticated, "invalid_token", []string{signed(`{"alg":"ES256","kid":"k","typ":"dpop+jwt"}`)}},
		"issuer 1":         {stream.Unauthenticated, "invalid_token", []string{of("iss", `"https://idp.test"`)}},
		"issuer 2":         {stream.Unauthenticated, "invalid_token", []string{of("iss", "")}},
		"algorithm 1":      {stream.Unauthenticated, "invalid_token", []string{bearer(jwttest.HMAC(`{"alg":"HS256","kid":"k"}`, claims(full...), []byte(h.key.JWK())))}},
		"algorithm 2":      {stream.Unauthenticated, "invalid_token", []string{bearer(jwttest.Encode(`{"alg":"none"}`) + "." + jwttest.Encode(claims(full...)) + ".AA")}},
		"unknown_key 1":    {stream.Unauthenticated, "invalid_token", []string{signed(`{"alg":"ES256","kid":"../../k"}`)}},
		"unknown_key 2":    {stream.Unauthenticated, "invalid_token", []string{bearer(h.key.Token(t, "ES256", `{"alg":"RS256","kid":"k"}`, claims(full...)))}},
		"signature 1":      {stream.Unauthenticated, "invalid_token", []string{bearer(other.Claims(t, "ES256", claims(full...)))}},
		"signature 2":      {stream.Unauthenticated, "invalid_token", []string{bearer(other.Token(t, "ES256", `{"alg":"ES256","kid":"k","jwk":`+other.JWK()+`}`, claims(full...)))}},
		"no_expiry":        {stream.Unauthenticated, "invalid_token", []string{of("exp", "")}},
		"expired":          {stream.Unauthenticated, "invalid_token", []string{of("exp", unix(-2*time.Minute), "iat", "")}},
		"not_yet":          {stream.Unauthenticated, "invalid_token", []string{of("nbf", unix(2*time.Minute))}},
		"issued_in_future": {stream.Unauthenticated, "invalid_token", []string{of("iat", unix(2*time.Minute))}},
		"lifetime 1":       {stream.Unauthenticated, "invalid_token", []string{of("exp", unix(25*time.Hour))}},
		"lifetime 2":       {stream.Unauthenticated, "invalid_token", []string{of("exp", unix(25*time.Hour), "iat", "")}},
		"audience 1":       {stream.Unauthenticated, "invalid_token", []string{of("aud", `"shop2"`)}},
		"audience 2":       {stream.Unauthenticated, "invalid_token", []string{of("aud", "")}},
		"audience 3":       {stream.Unauthenticated, "invalid_token", []string{of("aud", `["a","b"]`)}},
		"scope 1":          {stream.Forbidden, "insufficient_scope", []string{of("scope", `"readonly"`)}},
		"scope 2":          {stream.Forbidden, "insufficient_scope", []string{of("scope", "")}},
		"claim 1":          {stream.Forbidden, "insufficient_scope", []string{of("tenant", `"acme2"`)}},
		"claim 2":          {stream.Forbidden, "insufficient_scope", []string{of("a", `{"b":null}`)}},
	} {
		word, _, _ := strings.Cut(word, " ")
		counter := fmt.Sprintf("weir_jwt_requests_total{result=%q}", word)
		before := h.Counted(counter)
		_, fault := h.ask(t, c.fields...)
		if fault == nil {
			t.Errorf("%s: it is let through", word)
			continue
		}
		if fault.Kind != c.kind || h.Counted(counter) != before+1 {
			t.Errorf("%s: %v, counted %d", word, fault, h.Counted(counter)-before)
		}
		challenge, _ := fault.Header.GetID(stream.WWWAuthenticate)
		if !strings.HasPrefix(challenge, `Bearer realm="weir"`) || strings.Contains(challenge, "error=") != (c.code != "") || !strings.Contains(challenge, c.code) {
			t.Errorf("%s: WWW-Authenticate: %s", word, challenge)
		}
		if strings.Contains(fault.Error(), ".") || word == "scope" && !strings.Contains(challenge, `scope="read"`) {
			t.Errorf("%s: %v, %s", word, fault, challenge)
		}
	}
}

// TestTaken is what is good although it looks odd.
func TestTaken(t *testing.T) {
	h := build(t)
	unix := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	for name, field := range map[string]string{
		"an expiry within the leeway": bearer(h.token(t, "exp", unix(-30*time.Second), "iat", "")),
		"a clock ahead of ours":       bearer(h.token(t, "iat", unix(30*time.Second), "nbf", unix(30*time.Second))),
		"one of several audiences":    bearer(h.token(t, "aud", `["x","api"]`)),
		"no key id":                   bearer(h.key.Token(t, "ES256", `{"alg":"ES256"}`, claims())),
		"a type":                      bearer(h.key.Token(t, "ES256", `{"alg":"ES256","kid":"k","typ":"at+JWT"}`, claims())),
		"another case of Bearer":      "authorization: bEARER  " + h.token(t),
	} {
		if _, fault := h.ask(t, field); fault != nil {
			t.Errorf("%s: %v", name, fault)
		}
	}
}

// TestOptional: no token is nobody; a bad one is refused.
func TestOptional(t *testing.T) {
	h := build(t, "optional: true", "headers: [{name: X-User, claim: sub}]")
	sent, fault := h.ask(t, "Authorization: Basic YTpi", "X-User: root", "x_user: root")
	if fault != nil || h.last != nil {
		t.Fatalf("%v, %+v", fault, h.last)
	}
	if got := filtertest.Lines(&sent.Header); len(got) != 1 || got[0] != "Authorization: Basic YTpi" {
		t.Errorf("the upstream gets %q", got)
	}
	if _, fault := h.ask(t, bearer("a.b.c")); fault == nil || fault.Kind != stream.Unauthenticated {
		t.Errorf("a bad token: %v", fault)
	}
	if h.Counted(`weir_jwt_requests_total{result="anonymous"}`) != 1 {
		t.Error("nobody is not counted")
	}
}

// TestHeaders is threats.md section 5, "Client-supplied identity survives": what a
// client says by the names of the document never arrives, in no spelling.
func TestHeaders(t *testing.T) {
	h := build(t, `headers: [{name: X-User, claim: sub}, {name: X-Roles, claim: /realm/roles}, {name: X-Name, claim: name}, {name: X-Age, claim: age}]`, "payload: X-Claims")
	forged := []string{"X-User: root", "x-user: root", "X_User: root", "X.User: root", "X-Roles: admin", "x-ROLES:", "X-Name: root", "x_claims: e30"}
	sent, fault := h.ask(t, append(forged, bearer(h.token(t, "realm", `{"roles":["a","b"]}`, "name", `"J\u00fcrgen\r\nX-User: root"`, "age", "42")))...)
	if fault != nil {
		t.Fatal(fault)
	}
	lines := filtertest.Lines(&sent.Header)
	got := strings.Join(lines, "|")
	if want := "X-User: anna|X-Roles: a,b|X-Age: 42|X-Claims: "; !strings.HasPrefix(got, want) || len(lines) != 4 {
		t.Errorf("the upstream gets %q, want %q...", got, want)
	}
	// A list whose elements run together, and values that are no text.
	for _, roles := range []string{`["a,b"]`, `[["a"]]`, `{"a":1}`, `[]`, `["a",null]`} {
		sent, fault := h.ask(t, append(forged, bearer(h.token(t, "realm", `{"roles":`+roles+`}`)))...)
		if fault != nil || sent.Header.Count("X-Roles") != 0 {
			t.Errorf("roles %s: %v, %q", roles, fault, filtertest.Lines(&sent.Header))
		}
	}
}

// trailing is a body with a trailer.
type trailing struct {
	stream.Body
	trailer stream.Header
}

func (b *trailing) Read(p []byte) (int, error) { return b.Body.Read(p) }
func (b *trailing) Trailer() *stream.Header    { return &b.trailer }
func (b *trailing) Announced() string          { return "X-Sum, x_user" }

// noBytes hides the fast path, as a body with a trailer does.
type noBytes struct{ stream.Body }

// TestTrailers: a trailer is no way around.
func TestTrailers(t *testing.T) {
	h := build(t, `headers: [{name: X-User, claim: sub}]`)
	req := filtertest.Request("POST", "http://h/", bearer(h.token(t)))
	req.Length = -1
	req.Body = &trailing{noBytes{stream.BytesBody([]byte("content"))}, filtertest.Header("X-Sum: 1", "X_User: root")}
	var trailer *stream.Header
	announced := ""
	h.next.Answer = func(req *stream.Request) (*stream.Response, error) {
		trailer, announced = req.Body.Trailer(), req.Body.(stream.Announcer).Announced()
		return filtertest.Response(200, ""), nil
	}
	if _, fault := h.serve(t, req); fault != nil {
		t.Fatal(fault)
	}
	if got := strings.Join(filtertest.Lines(trailer), "|"); got != "X-Sum: 1" || announced != "X-Sum" {
		t.Errorf("trailer %q, announced %q", got, announced)
	}
}

// TestPlaces: where the token stands, and that it is gone behind the filter.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		from, field, left string // TOKEN stands for one; "" left: refused
		forward           bool
	}{
		{"authorization", "Authorization: Bearer TOKEN", "-", false},
		{"authorization", "Authorization: Bearer TOKEN", "Authorization: Bearer TOKEN", true},
		{"header:X-Token", "x-token: TOKEN", "-", false},
		{"header:X-Token", "x-token:", "", false},
		{"cookie:sid", "Cookie: a=b; sid=TOKEN; c=d", "Cookie: a=b; c=d", false},
		{"cookie:sid", "Cookie: sid=TOKEN", "-", false},
		{"cookie:sid", `Cookie: sid="TOKEN"; a=b`, "Cookie: a=b", false},
		{"cookie:sid", "Cookie: a=b; sid=TOKEN", "Cookie: a=b; sid=TOKEN", true},
		{"cookie:sid", "Cookie: sid=TOKEN; sid=TOKEN", "", false},
		{"cookie:sid", "Cookie: SID=TOKEN", "", false},
	} {
		h := build(t, "from: "+c.from, fmt.Sprintf("forward: %v", c.forward))
		token := h.token(t)
		sent, fault := h.ask(t, strings.ReplaceAll(c.field, "TOKEN", token))
		switch {
		case c.left == "":
			if fault == nil {
				t.Errorf("%s %s: let through", c.from, c.field)
			}
		case fault != nil:
			t.Errorf("%s %s: %v", c.from, c.field, fault)
		default:
			got := strings.ReplaceAll(strings.Join(filtertest.Lines(&sent.Header), "|"), token, "TOKEN")
			if got == "" {
				got = "-"
			}
			if got != c.left {
				t.Errorf("%s %s: the upstream gets %q, want %q", c.from, c.field, got, c.left)
			}
		}
	}
}

// TestShadow: nothing is refused, everything is counted, and nobody becomes
// somebody.
func TestShadow(t *testing.T) {
	h := build(t, "mode: shadow", "headers: [{name: X-User, claim: sub}]")
	for _, fields := range [][]string{nil, {bearer("a.b.c"), "X-User: root"}, {bearer(h.token(t)), bearer(h.token(t))}} {
		sent, fault := h.ask(t, fields...)
		if fault != nil || h.last != nil || sent.Header.Len() != 0 {
			t.Errorf("%v, %+v", fault, sent)
		}
	}
	if got := h.Counted("weir_jwt_shadow_passed_total"); got != 3 {
		t.Errorf("%d are counted", got)
	}
}

// TestRemembered: a token is remembered no longer than it is good, within a bound,
// and each by all of its text.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, "cache: 64", "leeway: 0s")
		token := h.token(t, "exp", fmt.Sprint(time.Now().Add(time.Minute).Unix()))
		if _, fault := h.ask(t, bearer(token)); fault != nil {
			t.Fatal(fault)
		}
		parts := strings.Split(token, ".")
		forged := parts[0] + "." + jwttest.Encode(claims("sub", `"root"`)) + "." + parts[2]
		if _, fault := h.ask(t, bearer(forged)); fault == nil {
			t.Error("other claims behind the signature that was seen")
		}
		time.Sleep(time.Minute)
		if _, fault := h.ask(t, bearer(token)); fault == nil || fault.Error() != "unauthenticated: jwt: expired" {
			t.Errorf("it is over: %v", fault)
		}
		for i := range 500 {
			if _, fault := h.ask(t, bearer(h.token(t, "sub", fmt.Sprintf("\"u%d\"", i)))); fault != nil || h.last.Claims.Subject != fmt.Sprintf("u%d", i) {
				t.Fatalf("%v, %+v", fault, h.last)
			}
		}
		if n, _ := h.Gauged("weir_jwt_tokens"); n > 64 || n == 0 {
			t.Errorf("%v are remembered", n)
		}
	})
}

// TestFile: keys from a file; the page for operators shows no key.
func TestFile(t *testing.T) {
	key := jwttest.Ed(t, "ed")
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, []byte(jwttest.Set(key.JWK())), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &filtertest.House{}
	s := filtertest.BuildIn(t, h, jwt.Definition(), fmt.Sprintf("issuers: [{issuer: %q, audiences: [shop], algorithms: [EdDSA], keys: {file: %s}}]", iss, file), &filtertest.Next{})
	token := key.Claims(t, "EdDSA", claims())
	if resp, err := s.Serve(t.Context(), filtertest.Request("GET", "http://h/", bearer(token))); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	view := fmt.Sprintf("%+v", h.Shown())
	if !strings.Contains(view, iss) || strings.Contains(view, key.JWK()[20:60]) || strings.Contains(view, token) || strings.Contains(view, "anna") {
		t.Errorf("operators see %s", view)
	}
}

func TestCheck(t *testing.T) {
	key := jwttest.Ed(t, "ed")
	keys := "keys: {inline: '" + jwttest.Set(key.JWK()) + "'}"
	issuer := func(more string) string { return "issuers: [{issuer: i, " + more + ", " + keys + "}]\n" }
	good := issuer("audiences: [a]")
	for settings, want := range map[string]string{
		"":                            "has no issuers",
		"issuers: []":                 "issuers is empty",
		issuer("algorithms: [ES256]"): "nothing says whom tokens must be for",
		issuer("audiences: [a], any_audience: true"):                                                      "both written",
		issuer("any_audience: true"):                                                                      "made for another service",
		issuer("audiences: [a], algorithms: [HS256]"):                                                     `"HS256" is not taken`,
		issuer("audiences: [a], algorithms: [none]"):                                                      `"none" is not taken`,
		good + "from: query:token":                                                                        "no place of a token",
		good + "from: header:host":                                                                        "no header for a token",
		good + "leeway: 1h":                                                                               "clocks that differ",
		good + "max_lifetime: 0s":                                                                         "no token is good",
		good + `realm: 'a"b'`:                                                                             "WWW-Authenticate",
		good + "scopes: ['a b']":                                                                          "no scope",
		good + "headers: [{name: Host, claim: sub}]":                                                      "means something else",
		good + "headers: [{name: X-Weir-User, claim: sub}]":                                               "is written by Weir",
		good + "headers: [{name: a b, claim: sub}]":                                                       "cannot be the name",
		good + "headers: [{name: X-A, claim: a}, {name: x_a, claim: b}]":                                  "written twice",
		good + "headers: [{name: X-A, claim: /a//b}]":                                                     "empty step",
		good + "require: [{claim: ''}]":                                                                   "claim is empty",
		good + "mode: shadow":                                                                             "whoever sends them",
		"issuers: [{issuer: i, audiences: [a], keys: {}}]":                                                "no keys to verify",
		"issuers: [{issuer: i, audiences: [a], keys: {file: nowhere}}]":                                   "cannot be read",
		"issuers: [{issuer: i, audiences: [a], keys: {inline: '{}'}}]":                                    `no list "keys"`,
		"issuers: [{issuer: i, audiences: [a], keys: {inline: '{}', file: f}}]":                           "both file and inline",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'http://h/k', cluster: c}}]":                   "may be anybody's",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'http://h/k', cluster: c, insecure: true}}]":   "can make tokens",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'https://h/k'}}]":                              "none is named",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'https://u:p@h/k', cluster: c}}]":              "no URL",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'https://h/k', cluster: c, stale: 1m}}]":       "too old",
		"issuers: [{issuer: i, audiences: [a], keys: {url: 'https://h/k', cluster: c, refresh: 0s}}]":     "not within",
		"issuers: [{issuer: i, audiences: [a], " + keys + "}, {issuer: i, audiences: [a], " + keys + "}]": "stands there twice",
	} {
		if problems := fmt.Sprint(filtertest.Check(t, jwt.Definition(), settings)); !strings.Contains(problems, want) {
			t.Errorf("%s: %s, want %q", settings, problems, want)
		}
	}
	if problems := filtertest.Check(t, jwt.Definition(), good); len(problems) != 0 {
		t.Errorf("a good one: %v", problems)
	}
}
