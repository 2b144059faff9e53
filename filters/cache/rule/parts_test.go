package rule

import (
	"fmt"
	"testing"

	"github.com/weirproxy/weir/stream"
)

func TestContentRangeOf(t *testing.T) {
	for value, want := range map[string]string{
		"bytes 0-9/10":                     "{{0 10} 10}",
		"bytes 5-5/6":                      "{{5 6} 6}",
		"bytes 0-9/*":                      "",
		"bytes */10":                       "",
		"bytes 9-0/10":                     "",
		"bytes 0-10/10":                    "",
		"bytes 0-9/9":                      "",
		"bytes -9/10":                      "",
		"bytes 0-/10":                      "",
		"bytes 0-9":                        "",
		"bytes=0-9/10":                     "",
		"Bytes 0-9/10":                     "",
		"bytes  0-9/10":                    "",
		"bytes 0-9/10 ":                    "",
		"bytes +0-9/10":                    "",
		"bytes 0-9/10,bytes 0-9/10":        "",
		"bytes 0-1-9/10":                   "",
		"bytes 0-9/99999999999999999999":   "",
		"bytes 0-99999999999999999999/100": "",
		"items 0-9/10":                     "",
		"":                                 "",
	} {
		h := &stream.Header{}
		h.Add("Content-Range", value)
		c, ok := ContentRangeOf(h)
		if got := fmt.Sprint(c); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %v, %v, want %q", value, c, ok, want)
		}
	}
}

func TestStartOf(t *testing.T) {
	for field, want := range map[string]int64{
		"bytes=0-": 0, "bytes=5-9": 5, "bytes = 5-": 5, "bytes=-5": -1, "bytes=9-5": -1, "bytes=0-1,5-6": -1, "x=0-1": -1, "": -1,
		"bytes=99999999999999999999-": -1,
	} {
		start, ok := StartOf(field)
		if ok != (want >= 0) || ok && start != want {
			t.Errorf("%q: %d, %v, want %d", field, start, ok, want)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-9/10", "bytes */5", "bytes 0-9/*", "bytes 0-1-9/10"} {
		f.Add(seed, "bytes=0-")
	}
	f.Fuzz(func(t *testing.T, value, field string) {
		h := &stream.Header{}
		h.Add("Content-Range", value)
		if c, ok := ContentRangeOf(h); ok && (c.Start < 0 || c.Start >= c.End || c.End > c.Length || c.Length > maxPosition) {
			t.Errorf("%q: %v", value, c)
		}
		if start, ok := StartOf(field); ok && (start < 0 || start >= maxPosition) {
			t.Errorf("%q: %d", field, start)
		}
	})
}
