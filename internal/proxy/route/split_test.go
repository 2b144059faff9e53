package route

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirproxy/weir/stream"
)

// sides makes sides of weights whose services put their names in *took.
func sides(took *string, weights ...int) []Side {
	var list []Side
	for i, w := range weights {
		name := fmt.Sprintf("c%d", i)
		list = append(list, Side{Name: name, Weight: w, Service: stream.ServiceFunc(
			func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				*took = name
				return answers(200).Serve(ctx, req)
			})})
	}
	return list
}

func newSplit(t testing.TB, sides []Side, key, salt string) *split {
	t.Helper()
	s, err := NewSplit(sides, key, salt)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*split)
}

// point is where a request lies.
func (s *split) point(req *stream.Request) uint64 {
	point, _ := s.place(req)
	return point
}

func TestSplitShares(t *testing.T) {
	const n = 200_000
	weights := []int{90, 0, 5, 5}
	for _, key := range []string{"", "header:x-user"} {
		t.Run("key "+key, func(t *testing.T) {
			s := newSplit(t, sides(new(string), weights...), key, "payments")
			got := make([]int, len(weights))
			req := request(t, "GET h /")
			for i := range n {
				req.Header.Set("X-User", fmt.Sprintf("user-%d", i))
				got[s.side(s.point(req))]++
			}
			for i, w := range weights {
				p := float64(w) / 100
				if off, sigma := math.Abs(float64(got[i])-n*p), math.Sqrt(n*p*(1-p)); off > 6*sigma {
					t.Errorf("side %d has %d of %d, want %g", i, got[i], n, n*p)
				}
			}
		})
	}
}

// TestSplitMovesOnlyAtTheBoundary: when the weights change, a point changes its
// side only if a boundary went over it, and what moves is what the weights say.
func TestSplitMovesOnlyAtTheBoundary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 1000), 2, 2)
		before, after := weights.Draw(t, "before"), weights.Draw(t, "after")
		if before[0]+before[1] == 0 || after[0]+after[1] == 0 {
			t.Skip("nothing to share")
		}
		share := func(w []int) float64 { return float64(w[0]) / float64(w[0]+w[1]) }
		a, err := NewSplit(sides(new(string), before...), "client", "r")
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewSplit(sides(new(string), after...), "client", "r")
		if err != nil {
			t.Fatal(err)
		}
		point := rapid.Uint64().Draw(t, "point")
		u := float64(point) / (1 << 64)
		low, high := min(share(before), share(after)), max(share(before), share(after))
		const grain = 1e-12 // float64 is coarser than the points
		if moved := a.(*split).side(point) != b.(*split).side(point); moved && (u < low-grain || u > high+grain) {
			t.Fatalf("point %g moved, the boundary from %g to %g did not pass it", u, share(before), share(after))
		} else if !moved && u > low+grain && u < high-grain {
			t.Fatalf("point %g stayed, the boundary from %g to %g passed it", u, share(before), share(after))
		}
	})
}

// TestSplitPointsAreForever: other values here would move every client of
// every split on an upgrade.
func TestSplitPointsAreForever(t *testing.T) {
	for value, want := range map[string]uint64{"user-1": 0x5365542c8cae9265, "user-2": 0xa1dfaa7da8f7efb1} {
		req := request(t, "GET h /", "x-user: "+value)
		if got := newSplit(t, sides(new(string), 1, 1), "header:x-user", "payments").point(req); got != want {
			t.Errorf("%s is at %#x, want %#x", value, got, want)
		}
	}
}

func TestSplitKeepsAClientOnItsSide(t *testing.T) {
	took := ""
	list := sides(&took, 50, 50)
	s, turned := newSplit(t, list, "client", "r"), newSplit(t, []Side{list[1], list[0]}, "client", "r")
	other := newSplit(t, list, "client", "other")
	differ := 0
	for i := range 200 {
		req := request(t, "GET h /")
		req.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		serve(t, s, req)
		first := took
		req.Client = netip.AddrFrom16(req.Client.As16()) // ::ffff:192.0.2.x is the same client
		if serve(t, s, req); took != first {
			t.Errorf("client %d went to %s, then to %s", i, first, took)
		}
		if serve(t, turned, req); took != first {
			t.Errorf("client %d: the order of the sides counts", i)
		}
		if serve(t, other, req); took != first {
			differ++
		}
	}
	if differ < 50 || differ > 150 {
		t.Errorf("%d of 200 clients differ between two routes; the splits are not independent", differ)
	}
}

func TestSplitWithoutAValueIsRandom(t *testing.T) {
	took := ""
	s := newSplit(t, sides(&took, 1, 1), "header:x-user", "r")
	for _, headers := range [][]string{nil, {"x-user: "}} {
		seen := map[string]int{}
		for range 200 {
			serve(t, s, request(t, "GET h /", headers...))
			seen[took]++
		}
		if len(seen) != 2 {
			t.Errorf("%v: all went to %v", headers, seen)
		}
	}
}

func TestSplitWithNothingToShare(t *testing.T) {
	for _, list := range [][]Side{nil, sides(new(string), 0, 0)} {
		if _, fault := serve(t, newSplit(t, list, "", "r"), request(t, "GET h /")); fault == nil || fault.Kind != stream.NoCluster {
			t.Errorf("fault %v", fault)
		}
	}
	if _, err := NewSplit(sides(new(string), 1, -1), "", "r"); err == nil {
		t.Error("a negative weight is taken")
	}
	if _, err := NewSplit(nil, "body", "r"); err == nil {
		t.Error("an unknown key is taken")
	}
}

func TestAllocsSplit(t *testing.T) {
	req := request(t, "GET h /?q=1", "x-user: somebody", "Cookie: k=v")
	req.Client = netip.MustParseAddr("2001:db8::7")
	for _, key := range []string{"", "client", "header:x-user", "cookie:k", "query:q"} {
		s := newSplit(t, sides(new(string), 1, 1), key, "r")
		if n := testing.AllocsPerRun(100, func() { s.side(s.point(req)) }); n != 0 {
			t.Errorf("key %q: %v allocations", key, n)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	s := newSplit(b, sides(new(string), 95, 5), "client", "payments")
	req := request(b, "GET h /")
	req.Client = netip.MustParseAddr("192.0.2.1")
	for b.Loop() {
		s.side(s.point(req))
	}
}
