package cache

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
)

func TestPurge(t *testing.T) {
	for _, c := range []struct {
		order  any
		want   int // -1: refused
		remain string
	}{
		{map[string]any{"url": "https://h/a"}, 1, "/a/b /b /a?x=1"},
		{map[string]any{"url": "h/a"}, 1, "/a/b /b /a?x=1"},
		{map[string]any{"url": "http://H:80/x/../a"}, 1, "/a/b /b /a?x=1"}, // as a request would be read
		{map[string]any{"url": "http://h/a?x=1"}, 1, "/a /a/b /b"},
		{map[string]any{"prefix": "http://h/a"}, 3, "/b"},
		{map[string]any{"prefix": "http://h/a/"}, 1, "/a /b /a?x=1"},
		{map[string]any{"prefix": "http://h/"}, 4, ""},
		{map[string]any{"tag": "odd"}, 2, "/a /b"},
		{map[string]any{"tag": "none"}, 0, "/a /a/b /b /a?x=1"},
		{map[string]any{"all": true}, 4, ""},
		{map[string]any{}, -1, "/a /a/b /b /a?x=1"},
		{map[string]any{"all": false}, -1, "/a /a/b /b /a?x=1"},
		{map[string]any{"url": "h/a", "tag": "odd"}, -1, "/a /a/b /b /a?x=1"},
		{map[string]any{"urls": "h/a"}, -1, "/a /a/b /b /a?x=1"},
		{map[string]any{"url": "http://h/%zz"}, -1, "/a /a/b /b /a?x=1"},
		{"all", -1, "/a /a/b /b /a?x=1"},
	} {
		tags := [...]string{"even", "odd", "even", "odd"}
		w := cached(t, "", nil)
		w.origin = &origin{}
		w.reload("")
		paths := []string{"/a", "/a/b", "/b", "/a?x=1"}
		for i, path := range paths {
			w.origin.answer = says(200, "x", fresh, "Cache-Tag: all,"+tags[i]).answer
			w.get("http://h" + path)
		}
		result, err := w.Operate(t.Context(), "purge", c.order)
		if c.want < 0 && (err == nil || !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "name exactly one")) {
			t.Errorf("%v: %v, %v", c.order, result, err)
		} else if c.want >= 0 && result != (purged{c.want}) {
			t.Errorf("%v: %v, %v, want %d", c.order, result, err, c.want)
		}
		var remain []string
		for _, path := range paths {
			if g := w.get("http://h"+path, "Cache-Control: only-if-cached"); g.status == 200 {
				remain = append(remain, path)
			}
		}
		if got := strings.Join(remain, " "); got != c.remain {
			t.Errorf("%v: %q remain, want %q", c.order, got, c.remain)
		}
	}
}

func TestView(t *testing.T) {
	w := cached(t, "", says(200, "page", fresh))
	w.get("http://h/")
	w.get("http://h/")
	v, ok := w.Shown().(view)
	if !ok || v.Objects != 1 || v.Bytes < 600 || v.MaxBytes != 64<<20 || v.HitRatio != 0.5 || v.Results["hit"] != 1 || v.Results["miss"] != 1 {
		t.Errorf("%+v", v)
	}
}

// A response that differs for a tag field that the client should see.
func TestPassTags(t *testing.T) {
	w := cached(t, "pass_tags: true", says(200, "page", fresh, "Cache-Tag: a"))
	w.get("http://h/")
	if g := w.get("http://h/"); g.field("Cache-Tag") != "a" {
		t.Errorf("%v", filtertest.Lines(&g.header))
	}
}
