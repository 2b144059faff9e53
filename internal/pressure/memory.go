package pressure

import (
	"math"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// ofSystem is the share of the memory of a machine that a process may have that
// nobody has set a limit for: it is not alone there.
const ofSystem = 0.8

// MemoryLimit is how much memory the process may have: what its cgroup says, or
// a share of the machine's; 0: nobody knows.
func MemoryLimit() float64 {
	system, err := memlimit.FromSystem()
	if err != nil {
		system = 0
	}
	group, err := memlimit.FromCgroup()
	if err != nil || group == 0 || system > 0 && group >= system {
		return ofSystem * float64(system)
	}
	return float64(group)
}

// Memory is the memory that is in use: what the last collection left, and
// stacks. What is garbage is not, and goes before the limit is reached (see
// CollectBefore).
func Memory(limit float64) Sensor {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/os-stacks:bytes"}}
	return Sensor{Name: "memory", Grades: All, Read: func() (float64, float64) {
		metrics.Read(samples)
		used := 0.0
		for _, s := range samples {
			if s.Value.Kind() == metrics.KindUint64 {
				used += float64(s.Value.Uint64())
			}
		}
		return used, limit
	}}
}

// CollectBefore has garbage collected more often as the process comes near to the
// limit, unless whoever started it has decided that (GOMEMLIMIT).
func CollectBefore(limit float64) {
	if limit > 0 && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(0.9 * limit))
	}
}
