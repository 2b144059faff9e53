package collect

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 400},
		{1 << 20, 400},
		{4 << 20, 400},
		{8 << 20, 200},
		{16 << 20, 100},
		{1 << 40, 100},
	} {
		if got := percent(c.live); got != c.want {
			t.Errorf("percent(%d) = %d, want %d", c.live, got, c.want)
		}
	}
}

func TestAdjust(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	p := New()
	runtime.GC()
	p.Adjust()
	small := debug.SetGCPercent(100)
	if small <= 100 {
		t.Errorf("with a small heap the percentage is %d, want more than the runtime's 100", small)
	}
	large := make([]byte, 2*room)
	runtime.GC()
	p.Adjust()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("with %d bytes alive the percentage is %d, want 100", len(large), got)
	}
	runtime.KeepAlive(large)
}

func TestGOGCCounts(t *testing.T) {
	t.Setenv("GOGC", "50")
	if p := New(); p != nil {
		t.Errorf("New() = %v with GOGC set, want none", p)
	}
	New().Adjust() // and none does nothing
}
