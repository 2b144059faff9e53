package transcode

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weirproxy/weir/stream"
)

func TestTemplates(t *testing.T) {
	for _, c := range []struct{ text, err string }{
		{"/", ""}, {"/a", ""}, {"/a/*/b", ""}, {"/a/**", ""}, {"/a:verb", ""}, {"/{a}", ""}, {"/{a.b=c/*/d/**}:verb", ""}, {"/ä/b c", "stand in a path"},
		{"", "starts with"}, {"a", "starts with"}, {"//", "empty"}, {"/a/", "empty"}, {"/a//b", "empty"}, {"/{a", "do not match"},
		{"/a}", "do not match"}, {"/{a=}", "empty"}, {"/**/a", "not last"}, {"/{a=**}/b", "not last"}, {"/a*", "not the whole"},
		{"/{a={b}}", "do not match"}, {"/a:", "empty"}, {"/a:b:c", "verb"}, {"/a:*", "verb"}, {"/{a}b", "stands behind"},
		{"/..", "no segment|above"}, {"/a%2Fb", "slash"}, {"/" + strings.Repeat("a/", 40) + "a", "too long"}, {"/" + strings.Repeat("a", 3000), "too long"},
	} {
		_, err := parseTemplate(c.text)
		if (err == nil) != (c.err == "") {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.err)
			continue
		}
		matches := err == nil
		for word := range strings.SplitSeq(c.err, "|") {
			matches = matches || strings.Contains(err.Error(), word)
		}
		if !matches {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.err)
		}
	}
}

func TestRoutes(t *testing.T) {
	var r routes
	templates := map[*binding]string{}
	for _, rule := range []string{"GET /v1/a", "GET /v1/{x}", "GET /v1/{x=b/**}", "GET /v1/{x}:stop", "POST /v1/{x}", "GET /v1/{x=c/*}/d", "GET /v1/c/e/{x}",
		"* /any", "GET /any", "GET /", "GET /deep/{x=**}:v", "GET /v1/{x=*/lit}"} {
		verb, text, _ := strings.Cut(rule, " ")
		tmpl, err := parseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		b := &binding{}
		for _, v := range tmpl.vars {
			b.vars = append(b.vars, variable{start: v.start, end: v.end})
		}
		templates[b] = rule
		if !r.add(verb, tmpl, b) || r.add(verb, tmpl, b) {
			t.Errorf("%s is not added once", rule)
		}
	}
	for _, c := range []struct{ method, path, rule, value string }{
		{"GET", "/v1/a", "GET /v1/a", ""},
		{"GET", "/v1/z", "GET /v1/{x}", "z"},
		{"POST", "/v1/a", "POST /v1/{x}", "a"}, // the literal has no POST
		{"GET", "/v1/z:stop", "GET /v1/{x}:stop", "z"},
		{"GET", "/v1/z:other", "GET /v1/{x}", "z:other"},
		{"GET", "/v1/z:", "GET /v1/{x}", "z:"},
		{"GET", "/v1/b", "GET /v1/{x=b/**}", "b"},
		{"GET", "/v1/b/", "GET /v1/{x=b/**}", "b/"},
		{"GET", "/v1/b/c/d", "GET /v1/{x=b/**}", "b/c/d"},
		{"GET", "/v1/c/e/d", "GET /v1/c/e/{x}", "d"},
		{"GET", "/v1/c/f/d", "GET /v1/{x=c/*}/d", "c/f"},
		{"GET", "/v1/q/lit", "GET /v1/{x=*/lit}", "q/lit"},
		{"GET", "/any", "GET /any", ""}, {"PUT", "/any", "* /any", ""}, {"GET", "/", "GET /", ""},
		{"GET", "/deep/a/b:v", "GET /deep/{x=**}:v", "a/b"},
		{"GET", "/deep/a/b", "", ""}, {"GET", "/v1/", "", ""}, {"GET", "/v1", "", ""}, {"GET", "/v1/c//d", "", ""}, {"PUT", "/v1/a", "", ""},
		{"GET", "/v1/a/", "", ""}, {"GET", "*", "", ""}, {"GET", "", "", ""},
	} {
		m, found := r.find(c.method, c.path)
		if found != (c.rule != "") || found && templates[m.binding] != c.rule {
			t.Errorf("%s %s: %v %q, want %q", c.method, c.path, found, templates[m.binding], c.rule)
			continue
		}
		if found && len(m.binding.vars) > 0 {
			if got := m.value(&m.binding.vars[0]); got != c.value {
				t.Errorf("%s %s: variable %q, want %q", c.method, c.path, got, c.value)
			}
		}
	}
}

func TestCompileNamesWhatIsWrong(t *testing.T) {
	_, problems, err := compile(librarySet(t, true), options{})
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "lib.Library.Get") || !strings.Contains(problems[0], "{tags_are_not_here}: there is no such field") {
		t.Errorf("%q, %v", problems, err)
	}
	set := librarySet(t, false)
	set.File = set.File[1:]
	if _, _, err := compile(set, options{}); err == nil {
		t.Error("a set without an import is compiled")
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"/v1/{name=shelves/*/books/*}:cancel", "/**", "/{a.b}/c", "/{a=**}:b", "/a:b/c", "/%41", "/{}"} {
		f.Add(seed, "/v1/shelves/1/books/2:cancel")
	}
	f.Fuzz(func(t *testing.T, text, raw string) {
		tmpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		path, err := stream.CanonicalPath(raw)
		if err != nil {
			return
		}
		b := &binding{}
		for _, v := range tmpl.vars {
			b.vars = append(b.vars, variable{start: v.start, end: v.end})
		}
		var r routes
		r.add("GET", tmpl, b)
		m, found := r.find("GET", path)
		if !found {
			return
		}
		for i := range b.vars {
			if value := m.value(&b.vars[i]); !strings.Contains(path, value) {
				t.Errorf("%q on %q: %q is no part of the path", text, path, value)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"title=a&pages=1", "author.name=x&tags=a&tags=b", "rating=5&note=&loan=1s", "times=x&kinds=NOVEL", "a.b.c=1&cover=%ff", "parts.name=1", "free=1"} {
		f.Add(seed)
	}
	known, _, err := compile(librarySet(f, false), options{})
	if err != nil {
		f.Fatal(err)
	}
	m, _ := known.routes.find("GET", "/v1/all/a")
	c := &call{schema: known, options: options{maxMessage: 1 << 20}, binding: m.binding}
	f.Fuzz(func(t *testing.T, query string) {
		target, fault := stream.ParseTarget("http", "GET", "/v1/all/a?"+query, "h")
		if fault != nil {
			return
		}
		message := dynamicpb.NewMessage(m.binding.method.input)
		if err := c.parameters(message, &target, &m); err != nil {
			return
		}
		if _, err := c.frame(nil, message); err != nil {
			t.Errorf("%q: what was accepted cannot be sent: %v", query, err)
		}
		if name := message.Get(message.Descriptor().Fields().ByName("name")).String(); name != "a" {
			t.Errorf("%q: the query changed what the path says to %q", query, name)
		}
	})
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{`[{"a":1},{}]`, "{}\n{}", `["\"]",1]`, `5 6`, `[[[`, `}`, `[}`} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, step int) {
		v := values{body: &wire{reads: cutUp(text, max(1, step%50))}, max: 1 << 10}
		for range len(text) + 2 {
			value, err := v.next()
			if err != nil {
				return
			}
			if len(value) == 0 {
				return // the decoder refuses it
			}
			if !strings.Contains(text, string(value)) {
				t.Fatalf("%q is no part of %q", value, text)
			}
		}
		t.Fatalf("%q has more values than bytes", text)
	})
}
