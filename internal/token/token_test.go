package token_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/internal/token"
	"github.com/weirproxy/weir/stream"
)

func of(header, payload string) string {
	return jwttest.Encode(header) + "." + jwttest.Encode(payload) + "." + jwttest.Encode("signature")
}

func TestRead(t *testing.T) {
	got, err := token.Read(of(`{"alg":"ES256","kid":"a","typ":"application/AT+JWT"}`, `{"iss":"i","n":1.50,"b":true,"l":["x",2],"o":{"a/b":{"c~":"d"}},"z":null}`))
	if err != nil || got.Algorithm != "ES256" || got.KeyID != "a" || got.Type != "at+jwt" {
		t.Fatalf("%+v, %v", got, err)
	}
	c := &stream.Claims{All: got.Claims}
	for name, want := range map[string]string{"iss": "i", "n": "1.50", "b": "true", "/o/a~1b/c~0": "d"} {
		parsed, err := stream.ParseClaimName(name)
		if err != nil {
			t.Fatal(err)
		}
		if claim, ok := c.At(parsed); !ok || claim.Text != want {
			t.Errorf("%s: %q %v, want %q", name, claim.Text, ok, want)
		}
	}
	for _, name := range []string{"z", "none", "/iss/x", "/l/0"} {
		parsed, _ := stream.ParseClaimName(name)
		if claim, ok := c.At(parsed); ok {
			t.Errorf("%s: there is %+v", name, claim)
		}
	}
}

// TestReadRefuses is what a token may not be: RFC 7515, RFC 7519 and the best
// current practices of RFC 8725.
func TestReadRefuses(t *testing.T) {
	const h, p = `{"alg":"ES256"}`, `{"iss":"i"}`
	good := of(h, p)
	deep := `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":                          {"", token.ErrMalformed},
		"dots":                           {strings.Repeat(".", 8000), token.ErrMalformed},
		"two parts":                      {jwttest.Encode(h) + "." + jwttest.Encode(p), token.ErrMalformed},
		"no signature":                   {jwttest.Encode(h) + "." + jwttest.Encode(p) + ".", token.ErrMalformed},
		"four parts":                     {good + ".x", token.ErrMalformed},
		"JWE: five parts":                {good + ".x.y", token.ErrEncrypted},
		"JSON serialisation":             {`{"payload":"e30"}`, token.ErrMalformed},
		"padding":                        {good + "=", token.ErrMalformed},
		"line end":                       {strings.Replace(good, ".", "\n.", 1), token.ErrMalformed},
		"bits behind the last byte":      {strings.Replace(good, jwttest.Encode(p)+".", strings.TrimSuffix(jwttest.Encode(p), "0")+"1.", 1), token.ErrMalformed},
		"no algorithm":                   {of(`{}`, p), token.ErrMalformed},
		"algorithm twice":                {of(`{"alg":"none","alg":"ES256"}`, p), token.ErrMalformed},
		"algorithm is a number":          {of(`{"alg":256}`, p), token.ErrMalformed},
		"claim twice":                    {of(h, `{"sub":"a","sub":"b"}`), token.ErrMalformed},
		"claim twice by escapes":         {of(h, `{"sub":"a","s\u0075b":"b"}`), token.ErrMalformed},
		"claim twice in an object":       {of(h, `{"a":{"b":1,"b":2}}`), token.ErrMalformed},
		"claims are a list":              {of(h, `[]`), token.ErrMalformed},
		"something behind the claims":    {of(h, p+p), token.ErrMalformed},
		"not UTF-8":                      {of(h, "{\"sub\":\"\xff\"}"), token.ErrMalformed},
		"deep":                           {of(h, deep), token.ErrMalformed},
		"crit":                           {of(`{"alg":"ES256","crit":["exp"],"exp":1}`, p), token.ErrCritical},
		"crit is empty":                  {of(`{"alg":"ES256","crit":[]}`, p), token.ErrCritical},
		"b64":                            {of(`{"alg":"ES256","b64":false}`, p), token.ErrCritical},
		"a key id that is long":          {of(`{"alg":"ES256","kid":"`+strings.Repeat("k", 300)+`"}`, p), token.ErrMalformed},
		"a key id that is not a string":  {of(`{"alg":"ES256","kid":{"a":1}}`, p), token.ErrMalformed},
		"header is not JSON":             {of(`alg`, p), token.ErrMalformed},
		"header has something behind it": {of(h+" 1", p), token.ErrMalformed},
	} {
		if got, err := token.Read(c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestReadRegistered(t *testing.T) {
	for payload, ok := range map[string]bool{
		`{"exp":1700000000,"nbf":1.5e9,"iat":1600000000.25,"aud":["a","b"]}`: true,
		`{"aud":"a"}`:                true,
		`{}`:                         true,
		`{"exp":"1700000000"}`:       false,
		`{"exp":null}`:               false,
		`{"exp":-1}`:                 false,
		`{"exp":0}`:                  false,
		`{"exp":1e300}`:              false,
		`{"exp":253402300800}`:       false,
		`{"iss":1}`:                  false,
		`{"sub":["a"]}`:              false,
		`{"aud":1}`:                  false,
		`{"aud":["a",1]}`:            false,
		`{"aud":{"a":1}}`:            false,
		`{"nbf":true}`:               false,
		`{"iat":[1]}`:                false,
		`{"iss":null,"sub":"a"}`:     false,
		`{"iss":"a","sub":"\u00e9"}`: true,
	} {
		claims, err := token.ReadObject([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := token.ReadRegistered(&claims); (err == nil) != ok {
			t.Errorf("%s: %+v, %v", payload, r, err)
		}
	}
}

// FuzzRead: whatever comes, reading ends, and what is read is what the text says,
// read again.
func FuzzRead(f *testing.F) {
	f.Add(of(`{"alg":"ES256","kid":"a"}`, `{"iss":"i","aud":["a"],"exp":1}`))
	f.Add(of(`{"alg":"none"}`, `{"a":{"b":[{"c":null}]}}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := token.Read(text)
		if err != nil {
			return
		}
		if got.Algorithm == "" || strings.Count(text, ".") != 2 {
			t.Fatalf("%q is read as %+v", text, got)
		}
		again := of(`{"alg":"x"}`, string(got.Payload))
		if _, err := token.Read(again); err != nil {
			t.Fatalf("the payload %q is read once, and not again: %v", got.Payload, err)
		}
		_, _ = token.ReadRegistered(&got.Claims)
	})
}
