package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	p := New([]string{"X-Api-Key"}, []string{"token"})
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":[true,null,1e400,"x"]}`, `{"b":1,"a":[true,null,1e400,"x"]}`},
		{`{"match":{"headers":[{"name":"x-api-key","exact":"S","not":true}]}}`, `{"match":{"headers":[{"name":"x-api-key","exact":"[redacted]","not":true}]}}`},
		{`{"headers":[{"exact":"S","name":"X-Api-Key"},{"name":"X-Other","exact":"v"}]}`, `{"headers":[{"exact":"[redacted]","name":"X-Api-Key"},{"name":"X-Other","exact":"v"}]}`},
		{`{"set":{"Authorization":"S","X-Api-Key":["S","S"],"X-B":"v"}}`, `{"set":{"Authorization":"[redacted]","X-Api-Key":["[redacted]","[redacted]"],"X-B":"v"}}`},
		{`{"query":[{"name":"token","exact":"S"},{"name":"page","exact":"2"}]}`, `{"query":[{"name":"token","exact":"[redacted]"},{"name":"page","exact":"2"}]}`},
		{`{"query":{"Token":"S","page":2}}`, `{"query":{"Token":"[redacted]","page":2}}`},
		{`{"cookies":[{"name":"session","exact":"S"}]}`, `{"cookies":[{"name":"session","exact":"[redacted]"}]}`},
		{`{"token":"a name of something else"}`, `{"token":"a name of something else"}`},
		{`{"location":"https://a/?token=S\u0026b=1"}`, `{"location":"https://a/?token=[redacted]\u0026b=1"}`},
		{`{"add":["Cookie: a=S","cookie=S","x: y"],"remove":["Authorization"]}`, `{"add":["Cookie: [redacted]","cookie=[redacted]","x: y"],"remove":["Authorization"]}`},
		{`{"header":[["cookie","S"],["x-b","v"]]}`, `{"header":[["cookie","[redacted]"],["x-b","v"]]}`},
		{`{"query":"a=1\u0026token=S"}`, `{"query":"a=1\u0026token=[redacted]"}`},
		{`{"why":"header x-api-key does not equal \"S\" and begin with \"S\""}`, `{"why":"header x-api-key does not equal [redacted]"}`},
		{`{"why":"query parameter token does equal \"S\""}`, `{"why":"query parameter token does equal [redacted]"}`},
		{`{"why":"cookie k does not match \"S\""}`, `{"why":"cookie k does not match [redacted]"}`},
		{`{"why":"header x-b does not equal \"v\""}`, `{"why":"header x-b does not equal \"v\""}`},
		{`{"why":"header x-api-key is absent"}`, `{"why":"header x-api-key is absent"}`},
		{`{"split":{"key":"cookie:session"}}`, `{"split":{"key":"cookie:session"}}`},
		{`"x"`, `"x"`},
	} {
		got, err := p.JSON([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("JSON(%s)\n got %s, %v\nwant %s", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "{", `{"a"}`, "[1,]", strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if got, err := p.JSON([]byte(bad)); err == nil {
			t.Errorf("JSON(%q) = %s, want an error", bad, got)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"name":"cookie","a":[1,{"b":"?token=x"}]}`))
	p := New([]string{"X-Api-Key"}, []string{"token"})
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := p.JSON(in)
		if err == nil && !json.Valid(out) {
			t.Errorf("JSON(%q) = %q", in, out)
		}
	})
}
