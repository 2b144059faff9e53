//go:build !race

package jwt_test

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/jwt"
	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/stream"
)

// bench is a filter that remembers so many tokens, and a request for it.
func bench(t testing.TB, alg string, cache int) (stream.Service, func() *stream.Request) {
	key := map[string]func() jwttest.Key{
		"RS256": func() jwttest.Key { return jwttest.RSA(t, "k", 2048) }, "ES256": func() jwttest.Key { return jwttest.EC(t, "k", elliptic.P256()) },
		"EdDSA": func() jwttest.Key { return jwttest.Ed(t, "k") },
	}[alg]()
	resp := filtertest.Response(200, "")
	s := filtertest.Build(t, jwt.Definition(), fmt.Sprintf("{issuers: [{issuer: %q, audiences: [shop], keys: {inline: '%s'}}], cache: %d, headers: [{name: X-User, claim: sub}]}", iss, jwttest.Set(key.JWK()), cache),
		stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil }))
	field := bearer(key.Claims(t, alg, claims()))
	req, fresh := filtertest.Request("GET", "http://h/"), filtertest.Header(field)
	room := fresh.Clone()
	return s, func() *stream.Request {
		req.Header, req.Caller = room, nil
		req.Header.Reset()
		for _, f := range fresh.Fields() {
			req.Header.Append(f)
		}
		room = req.Header
		return req
	}
}

// TestAllocs: a token that is remembered costs what the next stages read.
func TestAllocs(t *testing.T) {
	s, request := bench(t, "ES256", 100)
	if n := testing.AllocsPerRun(1000, func() { _, _ = s.Serve(context.Background(), request()) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRemembered(b *testing.B) { run(b, "ES256", 100) }
func BenchmarkRS256(b *testing.B)      { run(b, "RS256", 0) }
func BenchmarkES256(b *testing.B)      { run(b, "ES256", 0) }
func BenchmarkEdDSA(b *testing.B)      { run(b, "EdDSA", 0) }

func run(b *testing.B, alg string, cache int) {
	s, request := bench(b, alg, cache)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Serve(context.Background(), request()); err != nil {
			b.Fatal(err)
		}
	}
}
