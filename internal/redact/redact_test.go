package redact

import (
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	p := New([]string{"X-Api-Key"}, nil)
	for name, want := range map[string]bool{
		"Authorization": true, "cookie": true, "SET-COOKIE": true, "Proxy-Authorization": true,
		"x-api-key": true, "X-API-KEY": true, "Accept": false, "": false,
	} {
		if got := p.Header(name); got != want {
			t.Errorf("Header(%q) = %v, want %v", name, got, want)
		}
	}
	var nobody *Policy
	if !nobody.Header("Authorization") || nobody.Header("X-Api-Key") || nobody.QueryKey("token") {
		t.Error("a nil policy hides exactly the fields that are always hidden")
	}
	want := "authorization cookie proxy-authorization set-cookie x-api-key"
	for range 2 { // the list of always hidden names is not changed by a call
		if got := strings.Join(p.Headers(), " "); got != want {
			t.Errorf("Headers() = %q, want %q", got, want)
		}
	}
}

func TestQuery(t *testing.T) {
	p := New(nil, []string{"token", "Pass Word", "schlüssel"})
	for _, c := range []struct{ raw, want string }{
		{"", ""},
		{"a=1&b=2", "a=1&b=2"},
		{"token=x", "token=[redacted]"},
		{"a=1&token=x&b=2", "a=1&token=[redacted]&b=2"},
		{"token=x&token=y", "token=[redacted]&token=[redacted]"},
		{"TOKEN=x", "TOKEN=[redacted]"},
		{"%74oken=x", "%74oken=[redacted]"},
		{"%54%4f%4B%45%4E=x", "%54%4f%4B%45%4E=[redacted]"},
		{"pass+word=x", "pass+word=[redacted]"},
		{"pass%20word=x", "pass%20word=[redacted]"},
		{"schl%C3%BCssel=x", "schl%C3%BCssel=[redacted]"},
		{"+token=x", "+token=[redacted]"},
		{"token[]=x&token%5B0%5D=y", "token[]=[redacted]&token%5B0%5D=[redacted]"},
		{"a=1;token=x;b", "a=1;token=[redacted];b"},
		{"token=x=y==", "token=[redacted]"},
		{"token", "token"},
		{"token=", "token=[redacted]"},
		{"tokens=x&atoken=y", "tokens=x&atoken=y"},
		{"&&=x&%zz=1&%7", "&&=x&%zz=1&%7"},
		{strings.Repeat("%74", 100) + "=x&token=y", strings.Repeat("%74", 100) + "=x&token=[redacted]"},
	} {
		if got := p.Query(c.raw); got != c.want {
			t.Errorf("Query(%q) = %q, want %q", c.raw, got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	p := New([]string{"X-Api-Key"}, []string{"token"})
	for _, c := range []struct{ text, want string }{
		{"plain", "plain"},
		{"https://a/b?token=x", "https://a/b?token=[redacted]"},
		{"https://a/b?q=1&token=x#token=y", "https://a/b?q=1&token=[redacted]#token=[redacted]"},
		{`get "https://a/?token=x": refused`, `get "https://a/?token=[redacted]": refused`},
		{"0;url=/next?token=x", "0;url=/next?token=[redacted]"},
		{"token=x", "token=x"}, // no URL: an expression of somebody else
	} {
		if got := p.Text(c.text); got != c.want {
			t.Errorf("Text(%q) = %q, want %q", c.text, got, c.want)
		}
	}
	if got := p.Value("x-api-key", "k"); got != Mark {
		t.Errorf("Value of a hidden field = %q", got)
	}
	if got := p.Value("Referer", "/?token=x"); got != "/?token=[redacted]" {
		t.Errorf("Value of a Referer = %q", got)
	}
}

// FuzzQuery: what is hidden never comes out, in whatever company, and a query
// without hidden keys comes out as it is.
func FuzzQuery(f *testing.F) {
	f.Add("a=1", "b=2")
	f.Add("a=%", "%;=[")
	f.Add("&;", "")
	p := New(nil, []string{"token"})
	f.Fuzz(func(t *testing.T, before, after string) {
		const canary = "ca9ary~~value"
		got := p.Query(before + "&token=" + canary + "&" + after)
		if strings.Contains(before+after, canary) {
			t.Skip()
		}
		if strings.Contains(got, canary) {
			t.Errorf("the canary is in %q", got)
		}
		if plain := New(nil, nil).Query(before); plain != before {
			t.Errorf("without hidden keys %q became %q", before, plain)
		}
	})
}

func TestAllocsAppendQuery(t *testing.T) {
	p := New(nil, []string{"token"})
	dst := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { dst = p.AppendQuery(dst[:0], "page=2&Tok%65n=abc&x=y") }); n != 0 {
		t.Errorf("AppendQuery allocates %v times, want 0", n)
	}
}
