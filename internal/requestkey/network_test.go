package requestkey

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/weirproxy/weir/stream"
)

func TestNetworks(t *testing.T) {
	for _, c := range []struct{ key, text, v4, v6 string }{
		{"client", "client", "192.0.2.77", "2001:db8:1:2:3:4:5:6"},
		{"client/24", "client/24", "192.0.2.0", "2001:db8:1:2::"},
		{"client/32", "client/32", "192.0.2.77", "2001:db8:1:2::"},
		{"client/32/64", "client/32", "192.0.2.77", "2001:db8:1:2::"},
		{"client/8/48", "client/8/48", "192.0.0.0", "2001:db8:1::"},
		{"client/32/128", "client", "192.0.2.77", "2001:db8:1:2:3:4:5:6"},
	} {
		k, err := Parse(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if k.String() != c.text {
			t.Errorf("%s is written as %s, want %s", c.key, k, c.text)
		}
		for address, want := range map[string]string{"192.0.2.77": c.v4, "::ffff:192.0.2.77": c.v4, "2001:db8:1:2:3:4:5:6%eth0": c.v6} {
			req := &stream.Request{Client: netip.MustParseAddr(address)}
			if got, ok := k.Of(req); got != want || !ok {
				t.Errorf("%s of %s: %s, %v, want %s", c.key, address, got, ok, want)
			}
			if got, ok := k.AppendTo(nil, req); string(got) != want || !ok {
				t.Errorf("%s of %s appended: %s, %v, want %s", c.key, address, got, ok, want)
			}
		}
	}
	for _, text := range []string{"client/", "client/0", "client/33", "client/24/", "client/24/129", "client/24/64/1", "client/+24", "client/024", "client/-1", "client/a"} {
		if k, err := Parse(text); err == nil || !k.IsZero() {
			t.Errorf("%s is taken for %s", text, k)
		}
	}
}

// FuzzParse: a key that is read is written so that it is read as the same one.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"client", "client/24", "client/24/56", "header:X-A", "cookie:a", "query:a b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(k.String()); err != nil || !reflect.DeepEqual(again, k) {
			t.Fatalf("%q is written as %q, which is read as %v, %v", text, k, again, err)
		}
	})
}
