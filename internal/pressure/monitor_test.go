package pressure

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var usual = Thresholds{Shorten: 0.7, Tighten: 0.8, Shed: 0.9, Refuse: 0.95, Reset: 0.97}

// words are the grades of a set.
func (s Grades) words() string { return strings.Join(s.Names(), " ") }

// TestGrades begin at their thresholds, end below them by more than a flutter,
// and each thing begins only those that help it.
func TestGrades(t *testing.T) {
	memory, descriptors, delay := 0.0, 0.0, 0.0
	var changes []string
	m := New([]Sensor{
		{Name: "memory", Grades: All, Read: func() (float64, float64) { return memory, 100 }},
		{Name: "descriptors", Grades: Connections, Read: func() (float64, float64) { return descriptors, 1000 }},
		{Name: "delay", Grades: Work, At: &Thresholds{Shed: 0.5, Refuse: 1}, Slack: 0.25, Read: func() (float64, float64) { return delay, 2 }},
		{Name: "endless", Grades: All, Read: func() (float64, float64) { return 1e12, 0 }},
		{Name: "shown", Read: func() (float64, float64) { return 9, 1 }},
	}, func(c Change) {
		verb := "ends"
		if c.Begins {
			verb = "begins"
		}
		changes = append(changes, fmt.Sprintf("%s %s by %s", c.Grade, verb, c.Because.Name))
	})
	memory, delay = 99, 5
	if m.Look(); m.Grades() != Nothing || m.Squeeze() != 0 {
		t.Errorf("%s, squeeze %v without thresholds", m.Grades().words(), m.Squeeze())
	}
	m.Set(usual)
	for _, step := range []struct {
		memory, descriptors, delay float64
		want                       string
		squeeze                    float64
	}{
		{69, 0, 0, "", 0},
		{70, 0, 0, "shorten", 0},
		{75, 0, 0, "shorten", 0.2},
		{80, 0, 0, "shorten tighten", 0.4},
		{76, 0, 0, "shorten tighten", 0.24},
		{64, 0, 0, "", 0},
		{10, 920, 0, "shorten tighten shed", 0.88},
		{10, 860, 0, "shorten tighten shed", 0.64},
		{10, 990, 0, "shorten tighten shed refuse", 1},
		{10, 840, 0, "shorten tighten", 0.56},
		{97, 840, 0, "shorten tighten shed refuse reset", 1},
		{93, 0, 0, "shorten tighten shed refuse reset", 0.92},
		{91, 0, 0, "shorten tighten shed refuse", 0.84},
		{10, 10, 0, "", 0},
		{10, 10, 1, "shed", 0},
		{10, 10, 2, "shed refuse", 0},
		{10, 10, 1.6, "shed refuse", 0},
		{10, 10, 0.6, "shed", 0},
		{10, 10, 0.4, "", 0},
		{200, 0, 0, "shorten tighten shed refuse reset", 1},
	} {
		memory, descriptors, delay = step.memory, step.descriptors, step.delay
		if m.Look(); m.Grades().words() != step.want || math.Abs(m.Squeeze()-step.squeeze) > 1e-9 {
			t.Errorf("memory %v, descriptors %v, delay %v: %q, squeeze %v; want %q, %v",
				memory, descriptors, delay, m.Grades().words(), m.Squeeze(), step.want, step.squeeze)
		}
	}
	if got := m.Excess("memory", Reset); math.Abs(got-108) > 1e-9 {
		t.Errorf("%v of memory too much, want 108", got)
	}
	m.Off()
	if delay = 9; true {
		m.Look()
	}
	if m.Grades() != Nothing || m.Squeeze() != 0 {
		t.Errorf("%s, squeeze %v while it is off", m.Grades().words(), m.Squeeze())
	}
	for _, want := range []string{"tighten begins by memory", "shed begins by descriptors", "shed begins by delay", "refuse ends by delay", "reset begins by memory"} {
		if !slices.Contains(changes, want) {
			t.Errorf("no %q in %q", want, changes)
		}
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
