package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPointers(t *testing.T) {
	p, err := NewPointers([]string{"/card/number", "/users/*/email", "/**/password"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{`{"card":{"number":"4111","cvc":1}}`, `{"card":{"number":"[redacted]","cvc":1}}`},
		{`{"card":{"number":4111}}`, `{"card":{"number":0}}`},
		{`{"Card":{"NUMBER":"4111"}}`, `{"Card":{"NUMBER":"[redacted]"}}`},
		{`{"card":{"n\u0075mber":"4111"}}`, `{"card":{"number":"[redacted]"}}`},
		{`{"card":{"number":"1","number":"2"}}`, `{"card":{"number":"[redacted]","number":"[redacted]"}}`},
		{`{"card":{"number":{"a":["S",1,true,null]}}}`, `{"card":{"number":{"a":["[redacted]",0,false,null]}}}`},
		{`{"users":[{"email":"a"},{"email":"b","id":1e400}]}`, `{"users":[{"email":"[redacted]"},{"email":"[redacted]","id":1e400}]}`},
		{`{"a":[{"b":{"password":"S"}}],"password":"S"}`, `{"a":[{"b":{"password":"[redacted]"}}],"password":"[redacted]"}`},
		{` "x" `, `"x"`},
	} {
		got, err := p.JSON([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s\n got %s, %v\nwant %s", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "{", `{"a":1}{"password":"S"}`, `{"a":1} x`, "\"\xff\"", "a=1", strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if got, err := p.JSON([]byte(bad)); err == nil {
			t.Errorf("%q becomes %s, want an error", bad, got)
		}
	}
	if _, err := NewPointers([]string{"$.a"}); err == nil {
		t.Error("a path of another language is taken")
	}
}

// FuzzPointers: what comes out is JSON and does not have the secret.
func FuzzPointers(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"password":"S3CRET"}]}`))
	f.Add([]byte(`{"Password":{"x":["S3CRET"]}}`))
	p, err := NewPointers([]string{"/**/password"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := p.JSON(in)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q becomes %q", in, out)
		}
		var v any
		_ = json.Unmarshal(out, &v)
		if leaks(v, false) {
			t.Fatalf("%q leaks in %q", in, out)
		}
	})
}

func leaks(v any, below bool) bool {
	switch v := v.(type) {
	case string:
		return below && v != Mark
	case map[string]any:
		for key, item := range v {
			if leaks(item, below || strings.EqualFold(key, "password")) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if leaks(item, below) {
				return true
			}
		}
	}
	return false
}
