package cache

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// identity is all that a key stands for.
type identity struct {
	scheme, host, port, path, query string
	headers                         []string // of the two names in the key; "-" for none
	vouched                         []string
}

func (i identity) equal(o identity) bool {
	return i.scheme == o.scheme && i.host == o.host && i.port == o.port && i.path == o.path && i.query == o.query &&
		slices.Equal(i.headers, o.headers) && slices.Equal(i.vouched, o.vouched)
}

func (i identity) request() *stream.Request {
	req := &stream.Request{Target: stream.Target{Scheme: i.scheme, Host: i.host, Port: i.port, Path: i.path, Query: i.query, HasQuery: i.query != ""}}
	for n, value := range i.headers {
		if value != "-" {
			req.Header.Add([]string{"X-A", "X-B"}[n], value)
		}
	}
	for _, value := range i.vouched {
		req.Header.Add("X-Original-Url", value)
	}
	return req
}

// Two requests that differ in a part of the key never have one key, whatever
// bytes a client puts where: also those by which the parts are kept apart.
func TestKeysAreInjective(t *testing.T) {
	settings := defaults()
	settings.Key.Headers = []string{"X-A", "X-B"}
	settings.Key.Query.Sort = false
	k, err := newKeys("test", &settings)
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', '/', '?', '&', '=', ':', 0, 1, 2, 3, 4, 'X', '-'}), 0, 4, -1)
	value := rapid.OneOf(text, rapid.Just("-"))
	made := rapid.Custom(func(t *rapid.T) identity {
		return identity{
			rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme"), text.Draw(t, "host"), rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "port"),
			text.Draw(t, "path"), text.Draw(t, "query"), []string{value.Draw(t, "a"), value.Draw(t, "b")}, rapid.SliceOfN(text, 0, 2).Draw(t, "vouched"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := made.Draw(t, "a"), made.Draw(t, "b")
		if rapid.Bool().Draw(t, "one part moved") { // what the two have in common decides nothing
			b = a
			b.headers = slices.Clone(a.headers)
			b.path, b.query = a.query, a.path
			b.headers[0], b.headers[1] = a.headers[1], a.headers[0]
		}
		same := bytes.Equal(k.appendTo(nil, a.request(), a.query), k.appendTo(nil, b.request(), b.query))
		if same != a.equal(b) {
			t.Fatalf("%+v and %+v: one key: %v", a, b, same)
		}
		if (k.of(a.request(), a.query) == k.of(b.request(), b.query)) != same {
			t.Fatal("the hash says something else")
		}
	})
}

// The same for the fields of Vary.
func TestVariantsAreInjective(t *testing.T) {
	value := rapid.OneOf(rapid.Just("-"), rapid.StringOfN(rapid.SampledFrom([]rune{'a', ',', ' ', 0, 1, 2, 'x'}), 0, 4, -1))
	rapid.Check(t, func(t *rapid.T) {
		var values [2][]string
		var keys [2]store.Key
		for i := range values {
			var h stream.Header
			for _, name := range []string{"x", "y", "z"} {
				v := value.Draw(t, name)
				values[i] = append(values[i], v)
				if v != "-" {
					h.Add(name, v)
				}
			}
			keys[i] = variant(store.Key{1}, []string{"x", "y", "z"}, &h)
		}
		if (keys[0] == keys[1]) != slices.Equal(values[0], values[1]) {
			t.Fatalf("%q and %q", values[0], values[1])
		}
	})
}

func TestRulesAndRoutesAreInTheKey(t *testing.T) {
	seen := map[store.Key]string{}
	for _, route := range []string{"a", "b"} {
		for i, change := range []func(*Settings){
			func(*Settings) {}, func(s *Settings) { s.Key.Query.Ignore = []string{"x"} }, func(s *Settings) { s.Force.TTL = 5 },
			func(s *Settings) { s.Key.Headers = []string{"X-A"} }, func(s *Settings) { s.ShareSetCookieWithEveryone = true },
		} {
			s := defaults()
			change(&s)
			k, err := newKeys(route, &s)
			if err != nil {
				t.Fatal(err)
			}
			key, name := k.of(filtertest.Request("GET", "http://h/"), ""), fmt.Sprint(route, i)
			if other := seen[key]; other != "" {
				t.Errorf("%s and %s have one key", other, name)
			}
			seen[key] = name
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("b=2&a=1&utm_x=3", "utm_*")
	f.Add("&&a&=&a=1;b=2", "a")
	f.Fuzz(func(t *testing.T, query, ignore string) {
		q := newQueries(&Query{Sort: true, Ignore: []string{ignore}})
		once := q.of(query)
		if twice := q.of(once); twice != once {
			t.Errorf("%q is %q, and that is %q", query, once, twice)
		}
		for part := range strings.SplitSeq(once, "&") {
			if part != "" && !slices.Contains(strings.Split(query, "&"), part) {
				t.Errorf("%q has %q, which %q has not", once, part, query)
			}
		}
		rule.AppendCodings(nil, query)
	})
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"http://h/a": "h/a", "https://h/a": "h/a", "http://h:80/a": "h/a", "https://h:443/a?x=1": "h/a?x=1", "http://h:443/a": "h:443/a", "http://h:8080/": "h:8080/",
	} {
		req := filtertest.Request("GET", url)
		if got := urlOf(&req.Target, req.Target.Query); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}
