package pressure

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestLevels rise at their thresholds, fall below them by more than a flutter,
// and go by the thing that is used most.
func TestLevels(t *testing.T) {
	memory, descriptors := 0.0, 0.0
	var changes []string
	m := New([]Sensor{
		{"memory", func() (float64, float64) { return memory, 100 }},
		{"descriptors", func() (float64, float64) { return descriptors, 1000 }},
		{"endless", func() (float64, float64) { return 1e12, 0 }},
	}, func(c Change) { changes = append(changes, c.To.String()+" by "+c.Because.Name) })
	m.Look()
	memory = 99
	if m.Look(); m.Level() != Calm {
		t.Errorf("%v without thresholds", m.Level())
	}
	m.Set(Thresholds{0, 0.8, 0.9, 0.95})
	for _, step := range []struct {
		memory, descriptors float64
		want                Level
	}{
		{79, 0, Calm}, {80, 0, Tight}, {76, 0, Tight}, {74, 0, Calm},
		{10, 920, Shedding}, {10, 860, Shedding}, {10, 840, Tight}, {96, 840, Refusing}, {91, 0, Refusing}, {89, 0, Shedding}, {10, 10, Calm},
		{200, 0, Refusing},
	} {
		memory, descriptors = step.memory, step.descriptors
		if m.Look(); m.Level() != step.want {
			t.Errorf("memory %v, descriptors %v: %v, want %v", memory, descriptors, m.Level(), step.want)
		}
	}
	m.Off()
	want := "tight by memory,calm by memory,shedding by descriptors,tight by descriptors,refusing by memory,shedding by memory,calm by memory,refusing by memory,calm by "
	if got := strings.Join(changes, ","); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if r := m.Readings(); len(r) != 3 || r[0].Share() != 2 || r[2].Share() != 0 {
		t.Errorf("%+v", r)
	}
}

func TestMemory(t *testing.T) {
	s := Memory(1 << 40)
	runtime.GC()
	before, limit := s.Read()
	held := make([]byte, 64<<20)
	runtime.GC()
	after, _ := s.Read()
	if limit != 1<<40 || after-before < 60<<20 {
		t.Errorf("%v of %v, then %v", before, limit, after)
	}
	runtime.KeepAlive(held)
	if l := MemoryLimit(); l < 64<<20 {
		t.Errorf("a machine with %v bytes", l)
	}
}

func TestDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("they are counted on Linux only")
	}
	s := Descriptors()
	before, limit := s.Read()
	for range 10 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, _ := s.Read(); after != before+10 || limit < after {
		t.Errorf("%v, then %v of %v", before, after, limit)
	}
}
