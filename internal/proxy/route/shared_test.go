package route

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestSharedIsAMap holds the map against Go's, with hashes that collide in
// some digits and in all, and checks that earlier versions stay as they were.
func TestSharedIsAMap(t *testing.T) {
	hashes := map[string]func(int) uint64{
		"spread":        func(i int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 },
		"one digit":     func(i int) uint64 { return uint64(i%3) << 60 },
		"all the same":  func(int) uint64 { return 42 },
		"equal to last": func(i int) uint64 { return 7 | uint64(i)<<54 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var m shared[int]
				want := map[string]int{}
				type version struct {
					m    shared[int]
					want map[string]int
				}
				var versions []version
				e := new(edit)
				for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
					i := rapid.IntRange(0, 30).Draw(t, "key")
					key := fmt.Sprint(i)
					switch rapid.IntRange(0, 3).Draw(t, "op") {
					case 0:
						m.drop(e, hash(i), key)
						delete(want, key)
					case 1:
						versions = append(versions, version{m, maps.Clone(want)})
						e = new(edit)
					default:
						m.put(e, hash(i), key, step)
						want[key] = step
					}
				}
				for _, v := range append(versions, version{m, want}) {
					same(t, v.m, v.want, hash)
				}
			})
		})
	}
}

func same(t *rapid.T, m shared[int], want map[string]int, hash func(int) uint64) {
	all := map[string]int{}
	m.each(func(key string, value int) { all[key] = value })
	if !maps.Equal(all, want) {
		t.Fatalf("each gave %v, want %v", all, want)
	}
	for i := range 31 {
		key := fmt.Sprint(i)
		got, ok := m.get(hash(i), key)
		if wanted, there := want[key]; ok != there || got != wanted {
			t.Fatalf("get %s gave %d %v, want %d %v", key, got, ok, wanted, there)
		}
	}
}
