package ratelimit

import (
	"hash/maphash"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/filter/filtertest"
)

// TestKeysNeverMix: two lists of values have one hash only if they are the same
// list, whatever the values hold.
func TestKeysNeverMix(t *testing.T) {
	l := &limit{state: &state{seed: maphash.MakeSeed()}}
	values := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune{0, 1, 2, 3, 'a', 'b'})), 2, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		if (l.hashOf(pointers(a)) == l.hashOf(pointers(b))) != slices.Equal(a, b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

func pointers(values []string) (out []*string) {
	for i := range values {
		out = append(out, &values[i])
	}
	return out
}

// TestHashOfValues: what an operator names is what a request has.
func TestHashOfValues(t *testing.T) {
	parts, err := parseKeys([]string{"client/24", "header:x-a", "header:x-none"})
	if err != nil {
		t.Fatal(err)
	}
	l := &limit{keys: parts, state: &state{seed: maphash.MakeSeed()}}
	client, a := "192.0.2.0", "v"
	if l.hash(filtertest.Request("GET", "http://h/", "X-A: v")) != l.hashOf([]*string{&client, &a, nil}) {
		t.Error("the hash of a request is not that of its values")
	}
}
