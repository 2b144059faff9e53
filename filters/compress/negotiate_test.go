package compress

import (
	"testing"

	"github.com/weirproxy/weir/stream"
)

func TestNegotiation(t *testing.T) {
	all := []coding{zstdCoding, brCoding, gzipCoding}
	for _, c := range []struct {
		fields []string
		order  []coding
		want   coding
	}{
		{nil, all, identity},
		{[]string{""}, all, identity},
		{[]string{"gzip"}, all, gzipCoding},
		{[]string{"GZIP"}, all, gzipCoding},
		{[]string{"x-gzip"}, all, gzipCoding},
		{[]string{"gzip, deflate, br, zstd"}, all, zstdCoding},
		{[]string{"gzip, br"}, []coding{gzipCoding, brCoding}, gzipCoding},
		{[]string{"gzip", "br"}, all, brCoding},
		{[]string{"gzip;q=0.9, br;q=0.8"}, all, gzipCoding},
		{[]string{"gzip ; Q=0.8 , br\t;\tq=0.9"}, all, brCoding},
		{[]string{"gzip;q=0"}, all, identity},
		{[]string{"gzip;q=0.000, br;q=0.001"}, all, brCoding},
		{[]string{"*"}, all, zstdCoding},
		{[]string{"*;q=0"}, all, identity},
		{[]string{"zstd;q=0, *"}, all, brCoding},
		{[]string{"*;q=0.1, gzip;q=0.5"}, all, gzipCoding},
		{[]string{"identity;q=0"}, all, identity}, // nothing is left: content as it is, rather than none
		{[]string{"identity;q=0, gzip;q=0.1"}, all, gzipCoding},
		{[]string{"identity;q=0, *;q=0.2"}, all, zstdCoding},
		{[]string{"identity, gzip;q=0.9"}, all, identity},
		{[]string{"identity;q=0.5, gzip;q=0.5"}, all, gzipCoding},
		{[]string{"compress, deflate"}, all, identity},
		{[]string{"gzip, gzip;q=0"}, all, gzipCoding}, // the first counts
		{[]string{"gzip;q=0, gzip"}, all, identity},
		{[]string{"gzip;q=2"}, all, identity},
		{[]string{"gzip;q=1.001"}, all, identity},
		{[]string{"gzip;q=0.1234"}, all, identity},
		{[]string{"gzip;q="}, all, identity},
		{[]string{"gzip;q=-1"}, all, identity},
		{[]string{"gzip;level=9"}, all, identity},
		{[]string{"gzip;q=1.000"}, all, gzipCoding},
		{[]string{"gzip;q=1."}, all, gzipCoding},
		{[]string{",, ,gzip,,"}, all, gzipCoding},
		{[]string{"gzip br"}, all, identity},
		{[]string{"gzip, br"}, []coding{zstdCoding}, identity},
	} {
		var h stream.Header
		for _, f := range c.fields {
			h.AddID(stream.AcceptEncoding, f)
		}
		a := acceptsOf(&h)
		if got := a.choose(c.order); got != c.want {
			t.Errorf("%q over %v: %d, want %d", c.fields, c.order, got, c.want)
		}
	}
}

func FuzzNegotiation(f *testing.F) {
	for _, seed := range []string{"gzip, br;q=0.5", "*;q=0, identity;q=0.1", "zstd;q=1.000,", ";q=,=;,", "gzip;q=0.0000"} {
		f.Add(seed)
	}
	all := []coding{zstdCoding, brCoding, gzipCoding}
	f.Fuzz(func(t *testing.T, value string) {
		var h stream.Header
		h.AddID(stream.AcceptEncoding, value)
		a := acceptsOf(&h)
		for i, w := range a.weight {
			if w < 0 || w > 1000 {
				t.Fatalf("%q: weight %d of %d", value, w, i)
			}
		}
		if c := a.choose(all); c != identity && a.weight[c] == 0 {
			t.Fatalf("%q: %s is used and not accepted", value, c)
		}
		// A field more that refuses everything changes nothing of what was said.
		before := a.weight
		h.AddID(stream.AcceptEncoding, "zstd;q=0, br;q=0, gzip;q=0, identity;q=0")
		after := acceptsOf(&h)
		for i := range before {
			if after.weight[i] > before[i] {
				t.Fatalf("%q: weight %d rose from %d to %d", value, i, before[i], after.weight[i])
			}
		}
	})
}

func TestContentTypes(t *testing.T) {
	set := compileTypes([]string{"text/*", "application/json", "application/*+json"}, false)
	for contentType, want := range map[string]bool{
		"text/html": true, "TEXT/Plain; charset=utf-8": true, "application/json": true, "application/json ;a=b": true,
		"application/problem+json": true, "application/jsonx": false, "application/+json": true, "image/png": false,
		"": false, "text": false, "text/event-stream": false, "application/grpc+json": false, ";": false,
	} {
		if got := set.match(contentType); got != want {
			t.Errorf("%q: %v, want %v", contentType, got, want)
		}
	}
}

func TestBrotliWindow(t *testing.T) {
	for first, want := range map[byte]int64{0x00: 1 << 16, 0x0f: 1 << 24, 0x0d: 1 << 23, 0x03: 1 << 18, 0x01: 1 << 17, 0x21: 1 << 10, 0x71: 1 << 15} {
		if got := brotliWindow(first); got != want {
			t.Errorf("%#x: %d, want %d", first, got, want)
		}
	}
}
