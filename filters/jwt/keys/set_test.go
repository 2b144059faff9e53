package keys_test

import (
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/filters/jwt/keys"
	"github.com/weirproxy/weir/internal/token"
)

func parse(t *testing.T, jwks ...string) *keys.Set {
	t.Helper()
	set, err := keys.ParseSet([]byte(jwttest.Set(jwks...)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func verifies(t *testing.T, set *keys.Set, text string) bool {
	t.Helper()
	read, err := token.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Find(read) {
		if k.Verify(read) {
			return true
		}
	}
	return false
}

// TestEveryAlgorithm: each verifies by its own kind of key, and by no other; a
// byte that is changed is seen.
func TestEveryAlgorithm(t *testing.T) {
	rsa := jwttest.RSA(t, "rsa", 2048)
	curves := map[string]jwttest.Key{
		"ES256": jwttest.EC(t, "p256", elliptic.P256()), "ES384": jwttest.EC(t, "p384", elliptic.P384()), "ES512": jwttest.EC(t, "p521", elliptic.P521()),
		"EdDSA": jwttest.Ed(t, "ed"),
	}
	jwks := []string{rsa.JWK()}
	for _, k := range curves {
		jwks = append(jwks, k.JWK())
	}
	set := parse(t, jwks...)
	for _, alg := range keys.Algorithms() {
		k, ok := curves[alg]
		if !ok {
			k = rsa
		}
		good := k.Claims(t, alg, `{"sub":"a"}`)
		if !verifies(t, set, good) {
			t.Errorf("%s is not verified", alg)
		}
		parts := strings.Split(good, ".")
		if verifies(t, set, parts[0]+"."+jwttest.Encode(`{"sub":"b"}`)+"."+parts[2]) {
			t.Errorf("%s: other claims under the same signature are verified", alg)
		}
		// The same signature under the name of another algorithm.
		for _, other := range keys.Algorithms() {
			if other == alg {
				continue
			}
			lie := k.Token(t, alg, fmt.Sprintf(`{"alg":%q,"kid":%q}`, other, k.ID), `{"sub":"a"}`)
			if verifies(t, set, lie) {
				t.Errorf("a signature by %s is verified as %s", alg, other)
			}
		}
	}
}

// TestForeignAlgorithms is RFC 8725 section 2.1: no signature at all, and a public
// key taken for a secret one.
func TestForeignAlgorithms(t *testing.T) {
	rsa := jwttest.RSA(t, "rsa", 2048)
	set := parse(t, rsa.JWK())
	for name, text := range map[string]string{
		"none":               jwttest.Encode(`{"alg":"none","kid":"rsa"}`) + "." + jwttest.Encode(`{}`) + "." + jwttest.Encode("x"),
		"None":               jwttest.Encode(`{"alg":"None"}`) + "." + jwttest.Encode(`{}`) + "." + jwttest.Encode("x"),
		"HMAC by the JWK":    jwttest.HMAC(`{"alg":"HS256","kid":"rsa"}`, `{}`, []byte(rsa.JWK())),
		"HMAC by nothing":    jwttest.HMAC(`{"alg":"HS256","kid":"rsa"}`, `{}`, nil),
		"lower case":         rsa.Token(t, "RS256", `{"alg":"rs256","kid":"rsa"}`, `{}`),
		"a key in the token": jwttest.Ed(t, "x").Token(t, "EdDSA", `{"alg":"EdDSA","jwk":`+jwttest.Ed(t, "x").JWK()+`}`, `{}`),
	} {
		if verifies(t, set, text) {
			t.Errorf("%s: verified", name)
		}
	}
}

func TestFind(t *testing.T) {
	a, b := jwttest.EC(t, "a", elliptic.P256()), jwttest.EC(t, "b", elliptic.P256())
	set := parse(t, a.JWK(), b.JWK("alg", "ES256"), jwttest.Ed(t, "e").JWK())
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"by id":                   {b.Claims(t, "ES256", `{}`), true},
		"by the id of another":    {b.Token(t, "ES256", `{"alg":"ES256","kid":"a"}`, `{}`), false},
		"by an unknown id":        {b.Token(t, "ES256", `{"alg":"ES256","kid":"c"}`, `{}`), false},
		"without an id":           {b.Token(t, "ES256", `{"alg":"ES256"}`, `{}`), true},
		"an id with an algorithm": {b.Token(t, "ES256", `{"alg":"EdDSA","kid":"b"}`, `{}`), false},
	} {
		if got := verifies(t, set, c.text); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestParseSet: what makes a set unusable, and what is left out of it.
func TestParseSet(t *testing.T) {
	ec := jwttest.EC(t, "ec", elliptic.P256())
	good := ec.JWK()
	with := func(more string) string { return strings.TrimSuffix(good, "}") + "," + more + "}" }
	weak := jwttest.Key{ID: "weak", Private: jwttest.RSA(t, "", 1024).Private}
	for name, c := range map[string]struct {
		text string
		want string // part of the error; "": it is taken
		left int
	}{
		"one":                    {jwttest.Set(good), "", 1},
		"with an unknown kind":   {jwttest.Set(good, `{"kty":"AKP","pub":"AA"}`), "", 1},
		"with a secret":          {jwttest.Set(good, `{"kty":"oct","k":"AAAA"}`), "", 1},
		"with one to encrypt":    {jwttest.Set(good, ec.JWK("use", "enc")), "", 1},
		"with operations":        {jwttest.Set(with(`"key_ops":["verify"]`)), "", 1},
		"with others":            {jwttest.Set(good, with(`"key_ops":["encrypt"]`)), "", 1},
		"with a weak one":        {jwttest.Set(good, weak.JWK()), "", 1},
		"with a bad certificate": {jwttest.Set(with(`"x5c":["AAAA"]`)), "", 1},
		"with another algorithm": {jwttest.Set(good, ec.JWK("alg", "RS256")), "", 1},
		"with HMAC on it":        {jwttest.Set(good, ec.JWK("alg", "HS256")), "", 1},
		"a secret alone":         {jwttest.Set(`{"kty":"oct","k":"AAAA"}`), "its kind is not known", 0},
		"a weak one alone":       {jwttest.Set(weak.JWK()), "1024 bits", 0},
		"private":                {jwttest.Set(good, with(`"d":"AAAA"`)), "private", 0},
		"off the curve":          {jwttest.Set(ec.JWK("x", jwttest.Encode(make([]byte, 32)))), "cannot be read", 0},
		"a member twice":         {jwttest.Set(with(`"kty":"EC"`)), "name twice", 0},
		"none":                   {jwttest.Set(), "empty", 0},
		"not a set":              {good, `no list "keys"`, 0},
		"HTML":                   {"<html>", "no JSON object", 0},
		"too many":               {jwttest.Set(strings.Split(strings.Repeat(`{}|`, 101), "|")[:101]...), "101 keys", 0},
		"an even exponent":       {jwttest.Set(jwttest.RSA(t, "r", 2048).JWK("e", "Ag")), "exponent", 0},
	} {
		set, err := keys.ParseSet([]byte(c.text))
		switch {
		case c.want == "" && (err != nil || set.Len() != c.left):
			t.Errorf("%s: %v, %v", name, set, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzParseSet: a hostile issuer gets an error, or a set whose keys can be used.
func FuzzParseSet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`, "a.b.c")
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, "")
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{}]}`, "")
	f.Fuzz(func(t *testing.T, content, signature string) {
		set, err := keys.ParseSet([]byte(content))
		if err != nil {
			return
		}
		if set.Len() == 0 {
			t.Fatal("an empty set is taken")
		}
		for _, alg := range keys.Algorithms() {
			read, err := token.Read(jwttest.Encode(fmt.Sprintf(`{"alg":%q}`, alg)) + "." + jwttest.Encode(`{}`) + "." + jwttest.Encode("x"+signature))
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range set.Find(read) {
				k.Verify(read)
			}
		}
	})
}
