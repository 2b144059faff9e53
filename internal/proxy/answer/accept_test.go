package answer

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
)

func TestNegotiate(t *testing.T) {
	browser := "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, c := range []struct {
		accept string // fields, by "|"
		want   int
	}{
		{"", plain},
		{"*/*", plain},
		{"image/png", plain},
		{"text/*", plain},
		{"application/*", asJSON},
		{"application/json", asJSON},
		{"APPLICATION/JSON", asJSON},
		{"application/json, text/plain, */*", asJSON},
		{"text/plain, application/json", plain},
		{"application/json;charset=utf-8", asJSON},
		{browser, asHTML},
		{"text/html;q=0.2, application/json;q=0.3", asJSON},
		{"text/html;q=0.2;level=1, application/json;q=0.100", asHTML},
		{"text/html;level=1;q=0", plain},
		{"text/plain;q=0, */*", asJSON},
		{"text/*;q=0.5, text/html", asHTML},
		{"*/*;q=1, text/plain;q=0.1, application/json;q=0.1", asHTML},
		{"text/html; Q=1.000", asHTML},
		{"image/png|text/html", asHTML},
		{", ,text/html,", asHTML},
		{"text/html;q=2", plain},
		{"text/html;q=1.001", plain},
		{"text/html;q=0.1234", plain},
		{"text/html;q=-1", plain},
		{"text/html;q=", plain},
		{"text/html, nonsense", plain},
		{"text/html, a/b/c", plain},
		{"text/html, /", plain},
		{"text / html", plain},
	} {
		var fields []string
		for _, v := range strings.Split(c.accept, "|") {
			if v != "" {
				fields = append(fields, "Accept: "+v)
			}
		}
		h := filtertest.Header(fields...)
		if got := negotiate(&h); got != c.want {
			t.Errorf("Accept %q gives %s, want %s", c.accept, mediaTypes[got], mediaTypes[c.want])
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html;q=0.5, application/json;q=0.7, */*;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		h := filtertest.Header("Accept:" + accept)
		if got := negotiate(&h); got < plain || got >= numFormats {
			t.Fatalf("%q gives %d", accept, got)
		}
	})
}
