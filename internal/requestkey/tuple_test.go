package requestkey

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/stream"
)

// TestValuesNeverMix: two lists of values have one hash only if they are the same
// list, whatever the values hold.
func TestValuesNeverMix(t *testing.T) {
	seed := maphash.MakeSeed()
	values := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune{0, 1, 2, 3, 'a', 'b'})), 2, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		if (SumOf(seed, pointers(a)) == SumOf(seed, pointers(b))) != slices.Equal(a, b) {
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

// TestSumOfARequest is that of its values.
func TestSumOfARequest(t *testing.T) {
	seed, network, a, empty := maphash.MakeSeed(), "192.0.2.0", "v", ""
	req := &stream.Request{Client: netip.MustParseAddr("192.0.2.7")}
	req.Header.Add("X-A", "v")
	req.Header.Add("X-Empty", "")
	for _, c := range []struct {
		texts  []string
		values []*string
	}{
		{nil, nil}, {[]string{"client/24"}, []*string{&network}}, {[]string{"header:x-none"}, []*string{nil}}, {[]string{"header:x-empty"}, []*string{&empty}},
		{[]string{"client/24", "header:x-a", "header:x-none"}, []*string{&network, &a, nil}},
	} {
		tuple, err := ParseTuple(c.texts)
		if err != nil {
			t.Fatal(err)
		}
		if tuple.Sum(seed, req) != SumOf(seed, c.values) {
			t.Errorf("%q: the hash of a request is not that of its values", c.texts)
		}
		if n := testing.AllocsPerRun(100, func() { tuple.Sum(seed, req) }); n != 0 {
			t.Errorf("%q: %v allocations", c.texts, n)
		}
	}
	if SumOf(seed, []*string{nil}) == SumOf(seed, []*string{&empty}) {
		t.Error("what is not there is empty")
	}
	for _, texts := range [][]string{{"client", "nothing"}, make([]string, MaxTuple+1)} {
		if _, err := ParseTuple(texts); err == nil {
			t.Errorf("%q is taken", texts)
		}
	}
}
