package pressure

import (
	"os"
	"syscall"
)

// Descriptors are the open ones against the limit of the process.
func Descriptors() Sensor {
	return Sensor{Name: "descriptors", Grades: Connections, Read: func() (float64, float64) {
		var limit syscall.Rlimit
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
			return 0, 0
		}
		return float64(openDescriptors()), float64(limit.Cur)
	}}
}

// openDescriptors counts the names in the folder that the kernel makes of them,
// without a look at each.
func openDescriptors() (n int) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1024)
		n += len(names)
		if err != nil {
			return max(n-1, 0) // dir itself
		}
	}
}
