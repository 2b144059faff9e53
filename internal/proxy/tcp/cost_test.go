package tcp

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// An idle relay costs two goroutines, and no page or pipe.
func TestIdleCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	const n = 200
	w := wiring{}
	r := newRig(t, w)
	before := measure()
	text := make([]byte, 3*pageSize) // enough to be spliced
	for range n {
		client, upstream := r.dial(w)
		go upstream.Write(text)
		if _, err := io.ReadFull(client, make([]byte, len(text))); err != nil {
			t.Fatal(err)
		}
	}
	after := measure()
	if per := float64(after.goroutines-before.goroutines) / n; per > 2.1 {
		t.Errorf("%.2f goroutines per relay", per)
	}
	// The two ends of the test are in it, and its list of what to close.
	if per := (after.bytes - before.bytes) / n; per > 14<<10 {
		t.Errorf("%d bytes per relay", per)
	} else {
		t.Logf("%d bytes per relay, with the test's ends", per)
	}
}

type cost struct{ goroutines, bytes int }

func measure() cost {
	runtime.GC()
	runtime.GC() // the pools forget
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{runtime.NumGoroutine(), int(m.HeapAlloc + m.StackInuse)}
}

// Pieces cost no allocation, however many there are.
func TestAllocsPiece(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, size := range []int{10, 4 * pageSize} {
		w := wiring{}
		r := newRig(t, w)
		client, upstream := r.dial(w)
		text := make([]byte, size)
		round := func() {
			if _, err := client.Write(text[:10]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(upstream, text[:10]); err != nil {
				t.Fatal(err)
			}
			if _, err := upstream.Write(text); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(client, text); err != nil {
				t.Fatal(err)
			}
		}
		round()
		if n := testing.AllocsPerRun(200, round); n > 0 {
			t.Errorf("%v allocations for %d bytes", n, size)
		}
	}
}

// BenchmarkTransfer is a request of one byte and an answer of 1 MiB on a
// connection that stays. The ends of the benchmark are in it.
func BenchmarkTransfer(b *testing.B) {
	const size = 1 << 20
	b.SetBytes(size)
	w := wiring{}
	r := newRig(b, w)
	client, upstream := r.dial(w)
	go func() {
		text := make([]byte, size)
		for {
			if _, err := io.ReadFull(upstream, text[:1]); err != nil {
				return
			}
			if _, err := upstream.Write(text); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 256<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(buf[:1]); err != nil {
			b.Fatal(err)
		}
		for n := 0; n < size; {
			m, err := client.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
}

// BenchmarkConnection is a connection that comes, says a word and goes.
func BenchmarkConnection(b *testing.B) {
	w := wiring{}
	r := newRig(b, w)
	b.ReportAllocs()
	for b.Loop() {
		client, upstream := r.dial(w)
		for _, nc := range []net.Conn{client, upstream} {
			nc.Close()
		}
		r.exchange()
	}
}
