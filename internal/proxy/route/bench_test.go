package route

import (
	"fmt"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// shapes are the ways in which n routes can be spread. probe is a request that
// takes the last of them.
var shapes = []struct {
	name  string
	route func(i int) Entry
	probe func(i int) string
}{
	{
		"hosts", // a host each
		func(i int) Entry { return entry(name(i), host(name(i)+".example.com"), path("/v1")) },
		func(i int) string { return "GET " + name(i) + ".example.com /v1/things/17" },
	},
	{
		"prefixes", // one host
		func(i int) Entry { return entry(name(i), host("example.com"), path("/svc/"+name(i)+"/v1")) },
		func(i int) string { return "GET example.com /svc/" + name(i) + "/v1/things/17" },
	},
	{
		"templates", // one host
		func(i int) Entry { return entry(name(i), host("example.com"), path("{/svc/"+name(i)+"/{id}/items")) },
		func(i int) string { return "GET example.com /svc/" + name(i) + "/17/items" },
	},
	{
		"mixed", // wildcards, exact paths, prefixes of many lengths, methods, headers, priorities
		mixed,
		func(i int) string {
			at := " a.b." + name(i/10) + ".example.com /v1/" + name(i)
			switch i % 10 {
			case 0:
				return "GET" + at
			case 1:
				return "GET" + at + "/7"
			case 3:
				return "PUT" + at + "/a/b/c"
			}
			return "GET" + at + "/a/b/c"
		},
	},
}

func name(i int) string { return fmt.Sprintf("r%06d", i) }

// mixed gives ten routes to each wildcard host.
func mixed(i int) Entry {
	at, p := host("*."+name(i/10)+".example.com"), "/v1/"+name(i)
	switch i % 10 {
	case 0:
		return entry(name(i), at, path("="+p), method("GET"))
	case 1:
		return entry(name(i), at, path("{"+p+"/{id}"))
	case 2:
		return entry(name(i), at, path(p+"/a"), header(is("x-tenant", "t")), 5)
	case 3:
		return entry(name(i), at, path(p+"/a/b"), method("PUT"))
	case 4:
		return entry(name(i), host("*.example.com"), path(p))
	}
	return entry(name(i), at, path(p))
}

func table(n int, route func(int) Entry) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = route(i)
	}
	return entries
}

func BenchmarkFind(b *testing.B) {
	for _, s := range shapes {
		for _, n := range []int{1, 10_000, 100_000} {
			t := Build(table(n, s.route))
			// Another route each time, or the caches of the processor would hold
			// one route and not a table. The request itself is warm, as one is
			// that was just read.
			var targets []stream.Target
			var methods []string
			for i := range min(n, 4096) {
				r := request(b, s.probe((i*7919+n-1)%n))
				targets, methods = append(targets, r.Target), append(methods, r.Method)
			}
			req := request(b, "GET h /", "X-Tenant: t")
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					req.Target, req.Method = targets[i%len(targets)], methods[i%len(targets)]
					if t.Find(req) == nil {
						b.Fatal("no route")
					}
					i++
				}
			})
		}
	}
}

func BenchmarkWith(b *testing.B) {
	for _, s := range shapes {
		entries := table(100_000, s.route)
		t := Build(entries)
		changed := []Entry{entries[77_777]}
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.With(changed, nil)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, s := range shapes {
		entries := table(100_000, s.route)
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Build(entries)
			}
		})
	}
}
