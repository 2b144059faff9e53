package rule

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/stream"
)

func lines(h *stream.Header) string {
	var all []string
	for _, f := range h.Fields() {
		all = append(all, f.Name+": "+f.Value)
	}
	return strings.Join(all, "|")
}

func TestNotModified(t *testing.T) {
	const stored = `ETag: "a"|Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT`
	for _, c := range []struct {
		section, request, stored string
		want                     bool
	}{
		{"none", "", stored, false},
		{"13.1.2", `If-None-Match: "a"`, stored, true},
		{"13.1.2: a list", `If-None-Match: "x", W/"a"`, stored, true},
		{"13.1.2: several fields", `If-None-Match: "x"|If-None-Match: "a"`, stored, true},
		{"13.1.2: a comma inside of a tag", `If-None-Match: "x,"a"`, stored, false},
		{"13.1.2: any", "If-None-Match: *", "", true},
		{"13.1.2: another", `If-None-Match: "b"`, stored, false},
		{"13.1.2: without quotes", `If-None-Match: a`, stored, false},
		{"13.1.3: the tag goes first", `If-None-Match: "b"|If-Modified-Since: Fri, 27 Nov 2026 12:00:00 GMT`, stored, false},
		{"13.1.3", "If-Modified-Since: Thu, 26 Nov 2026 12:00:00 GMT", stored, true},
		{"13.1.3: older", "If-Modified-Since: Thu, 26 Nov 2026 11:59:59 GMT", stored, false},
		{"13.1.3: no date", "If-Modified-Since: yesterday", stored, false},
		{"13.1.3: nothing known", "If-Modified-Since: Thu, 26 Nov 2026 12:00:00 GMT", `ETag: "a"`, false},
	} {
		asked := ConditionsOf(header(c.request))
		if got := asked.NotModified(200, header(c.stored)); got != c.want {
			t.Errorf("RFC 9110 %s: %s: %v", c.section, c.request, got)
		}
		if asked.NotModified(404, header(c.stored)) {
			t.Errorf("RFC 9110 13.2.1: %s: a 304 in the place of a 404", c.request)
		}
	}
}

func TestRangeHolds(t *testing.T) {
	const stored = `ETag: "a"|Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT|Date: Fri, 27 Nov 2026 12:00:00 GMT`
	for request, want := range map[string]bool{
		"":              true,
		`If-Range: "a"`: true, `If-Range: W/"a"`: false, `If-Range: "b"`: false, "If-Range: a": false,
		"If-Range: Thu, 26 Nov 2026 12:00:00 GMT": true, "If-Range: Thu, 26 Nov 2026 12:00:01 GMT": false,
	} {
		asked := ConditionsOf(header(request))
		if got := asked.RangeHolds(header(stored)); got != want {
			t.Errorf("RFC 9110 section 13.1.5: %q: %v", request, got)
		}
	}
	asked := ConditionsOf(header("If-Range: Thu, 26 Nov 2026 12:00:00 GMT"))
	if asked.RangeHolds(header("Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT|Date: Thu, 26 Nov 2026 12:00:00 GMT")) {
		t.Error("RFC 9110 section 8.8.2.2: a date of the same second is weak")
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		field  string
		length int64
		want   Wanted
		part   Part
	}{
		{"bytes=0-0", 10, OnePart, Part{0, 1}},
		{"bytes=2-5", 10, OnePart, Part{2, 6}},
		{"Bytes=2-", 10, OnePart, Part{2, 10}},
		{"bytes=2-99999999999999999999999", 10, OnePart, Part{2, 10}},
		{"bytes=-3", 10, OnePart, Part{7, 10}},
		{"bytes=-30", 10, OnePart, Part{0, 10}},
		{"bytes=-0", 10, Unsatisfied, Part{}},
		{"bytes=10-", 10, Unsatisfied, Part{}},
		{"bytes=99999999999999999999999-", 10, Unsatisfied, Part{}},
		{"bytes=0-", 0, Unsatisfied, Part{}},
		{"bytes=-5", 0, Unsatisfied, Part{}},
		{"bytes=0-1,3-4", 10, All, Part{}},
		{"bytes=5-2", 10, All, Part{}},
		{"bytes=a-b", 10, All, Part{}},
		{"bytes=-", 10, All, Part{}},
		{"bytes=", 10, All, Part{}},
		{"bytes", 10, All, Part{}},
		{"bytes=+1-2", 10, All, Part{}},
		{"items=0-1", 10, All, Part{}},
	} {
		if part, got := RangeOf(c.field, c.length); got != c.want || part != c.part {
			t.Errorf("RFC 9110 section 14.1.2: %s of %d: %d %v, want %d %v", c.field, c.length, got, part, c.want, c.part)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-0", "bytes=-5", "bytes=9-", "bytes=1-2,3-4", "x=99999999999999999999-"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, field string, length int64) {
		if length < 0 {
			return
		}
		part, wanted := RangeOf(field, length)
		if wanted == OnePart && (part.Start < 0 || part.Start >= part.End || part.End > length) {
			t.Errorf("%q of %d: %v", field, length, part)
		}
	})
}

func TestFreshen(t *testing.T) {
	stored := header(`Content-Type: text/plain|ETag: "a"|X-A: 1|X-A: 2|Cache-Control: max-age=5|Date: then`)
	got := Freshen(stored, header(`Date: now|x-a: 3|Cache-Control: max-age=60|Content-Type: text/html|Content-Length: 0|ETag: W/"a"`))
	const want = `Content-Type: text/plain|ETag: "a"|Date: now|x-a: 3|Cache-Control: max-age=60`
	if lines(&got) != want {
		t.Errorf("RFC 9111 section 3.2: %s", lines(&got))
	}
	if stored.Len() != 6 {
		t.Error("the stored header is changed")
	}
	for _, c := range []struct {
		fields string
		want   bool
	}{
		{"", true}, {`ETag: "a"`, true}, {`ETag: W/"a"`, true}, {`ETag: "b"`, false},
		{"Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", false},
	} {
		if got := Confirms(header(c.fields), stored); got != c.want {
			t.Errorf("RFC 9111 section 4.3.4: %q: %v", c.fields, got)
		}
	}
}

func TestAskAbout(t *testing.T) {
	request := header(`Accept: */*|Range: bytes=0-1|If-Range: "x"|If-None-Match: "x"|If-Modified-Since: x`)
	AskAbout(request, header(`ETag: "a"|Last-Modified: m`))
	if got := lines(request); got != `Accept: */*|If-None-Match: "a"|If-Modified-Since: m` {
		t.Errorf("RFC 9111 section 4.3.1: %s", got)
	}
}

func TestVary(t *testing.T) {
	for fields, want := range map[string]string{
		"": "", "Vary: B, a|Vary: A, b": "a b", "Vary: Accept-Encoding,": "accept-encoding",
		"Vary: *": "refused", "Vary: a, *": "refused", "Vary: a b": "refused", `Vary: "a"`: "refused",
		"Vary: " + strings.Repeat("a,", 40):                "a",
		"Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q":          "refused",
		"Vary: " + strings.Repeat("x", 1<<16) + ", Cookie": "cookie " + strings.Repeat("x", 1<<16),
	} {
		names, ok := VaryOf(header(fields))
		got := strings.Join(names, " ")
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("RFC 9111 section 4.1: %.40s: %.40s", fields, got)
		}
	}
	if both, ok := Union([]string{"a", "c"}, []string{"b", "c"}); !ok || strings.Join(both, "") != "abc" {
		t.Errorf("union: %v", both)
	}
}

func TestCodings(t *testing.T) {
	for _, same := range [][]string{
		{"", "compress", "gzip;q=0", "gzip;q=0.000"},
		{"gzip", "x-gzip", " gzip ", "GZIP;q=1.0", "sdch, gzip", "gzip, gzip;q=0.5"},
		{"gzip, deflate, br, zstd", "zstd,br , gzip;q=1,deflate"},
		{"gzip;q=0.5"},
		{"br, gzip"},
		{"gzip, identity;q=0"},
		{"gzip, *;q=0"},
		{"*"},
	} {
		first := string(AppendCodings(nil, same[0]))
		for _, value := range same {
			if got := string(AppendCodings(nil, value)); got != first {
				t.Errorf("%q is %q, %q is %q", same[0], first, value, got)
			}
		}
	}
	forms := map[string]bool{}
	for _, value := range []string{"", "gzip", "br", "br, gzip", "gzip;q=0.5", "gzip, identity;q=0", "*", "gzip, *;q=0", "zstd"} {
		forms[string(AppendCodings(nil, value))] = true
	}
	if len(forms) != 9 {
		t.Errorf("%d forms: %v", len(forms), forms)
	}
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Cookie", "gzip;q=0.5, br")
	f.Add("*", "identity;q=0,*")
	f.Fuzz(func(t *testing.T, vary, accept string) {
		h := &stream.Header{}
		h.Add("Vary", vary)
		names, ok := VaryOf(h)
		if ok != (names != nil) && strings.Trim(vary, ", \t") != "" && ok {
			t.Errorf("%q: nothing, and no refusal", vary)
		}
		for i, name := range names {
			if !stream.IsToken(name) || name != strings.ToLower(name) || i > 0 && names[i-1] >= name {
				t.Errorf("%q: %q", vary, names)
			}
		}
		AppendCodings(nil, accept)
	})
}

func TestTags(t *testing.T) {
	for fields, want := range map[string]string{
		"":                      "",
		"Surrogate-Key: a b  c": "a b c", "cache-tag: a,b, c": "a b c", "Surrogate-Key: a|Cache-Tag: b": "a b",
		"Cache-Tag: " + strings.Repeat("x", 257):  "refused",
		"Cache-Tag: " + strings.Repeat("x,", 129): "refused",
	} {
		tags, ok := TagsOf(header(fields))
		got := strings.Join(tags, " ")
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("%.40s: %.40s, want %.40s", fields, got, want)
		}
	}
}

func FuzzTags(f *testing.F) {
	f.Add("a b,c\td")
	f.Fuzz(func(t *testing.T, value string) {
		h := &stream.Header{}
		h.Add("Surrogate-Key", value)
		tags, _ := TagsOf(h)
		for _, tag := range tags {
			if tag == "" || strings.ContainsAny(tag, " ,\t") || len(tag) > maxTagLength {
				t.Errorf("%q: %q", value, tag)
			}
		}
	})
}
