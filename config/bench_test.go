package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
)

// manyRoutes is a document of n routes as people write them.
func manyRoutes(n int) []byte {
	var text strings.Builder
	text.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&text, `  - name: route-%d
    listeners: [public]
    match: {hosts: [h%d.example.com], path: {prefix: /v%d}}
    timeout: 15s
    filters:
      - headers: {request: {set: [{name: X-Route, value: "%d"}]}}
    to: [{cluster: a, weight: 95}, {cluster: b, weight: 5}]
`, i, i%100, i, i)
	}
	return []byte(text.String())
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		content := manyRoutes(n)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if d, problems := config.Parse("bench.yaml", content); d == nil || len(problems) > 0 {
					b.Fatal(problems)
				}
			}
		})
	}
}
