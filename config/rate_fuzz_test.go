package config_test

import (
	"testing"

	"github.com/weirproxy/weir/config"
)

// FuzzRate: a rate that is read is written so that it is read as the same one.
func FuzzRate(f *testing.F) {
	for _, text := range []string{"100/s", "30/m", "1000/h", "1/d", "0/s", "2147483647/s", "1/w", "-1/s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again config.Rate
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r || r.Count <= 0 || r.Per <= 0 {
			t.Fatalf("%q is %+v, written as %q: %v", text, r, r, err)
		}
	})
}
