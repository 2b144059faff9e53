package pressure

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/fstest"
	"time"
)

// system is a machine with four processors.
func system(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{"proc/stat": {Data: []byte("cpu  100 0 100 9000 50 0 0 0 0 0\ncpu0 1 2 3\n")}}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestCPU(t *testing.T) {
	const (
		mount1 = "33 31 0:30 %s /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
		mount2 = "41 31 0:38 %s /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
	)
	for _, c := range []struct {
		name                string
		files, later        map[string]string // later: what has changed a second later
		used, limit         float64
		throttled, pressure Reading
	}{
		{
			name:  "no cgroup: the machine",
			later: map[string]string{"proc/stat": "cpu  200 0 100 9000 50 0 0 0 0 0\n"},
			used:  1, limit: 4,
		},
		{
			name: "version 2, a quota further up", files: map[string]string{
				"proc/self/cgroup": "0::/pods/a/inner\n", "proc/self/mountinfo": fmt.Sprintf(mount2, "/"),
				"sys/fs/cgroup/pods/a/inner/cpu.max": "max 100000\n", "sys/fs/cgroup/pods/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/pods/cpu.max": "300000 100000\n",
				"sys/fs/cgroup/pods/a/cpu.stat":     "usage_usec 1000000\nnr_periods 100\nnr_throttled 10\nthrottled_usec 5\n",
				"sys/fs/cgroup/pods/a/cpu.pressure": "some avg10=12.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
			},
			later: map[string]string{"sys/fs/cgroup/pods/a/cpu.stat": "usage_usec 2200000\nnr_periods 110\nnr_throttled 14\nthrottled_usec 5\n"},
			used:  1.2, limit: 1.5, throttled: Reading{Used: 0.4, Limit: 1}, pressure: Reading{Used: 0.125, Limit: 1},
		},
		{
			name: "version 2 in a container, which sees itself at the top", files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": fmt.Sprintf(mount2, "/"),
				"sys/fs/cgroup/cpu.max": "50000 100000\n", "sys/fs/cgroup/cpu.stat": "usage_usec 100\n",
			},
			later: map[string]string{"sys/fs/cgroup/cpu.stat": "usage_usec 500100\n"},
			used:  0.5, limit: 0.5,
		},
		{
			name: "version 1, mounted from within", files: map[string]string{
				"proc/self/cgroup":                           "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n",
				"proc/self/mountinfo":                        fmt.Sprintf(mount2, "/") + fmt.Sprintf(mount1, "/docker/x"),
				"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
				"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "1000000000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 10\nnr_throttled 0\nthrottled_time 0\n",
				"proc/pressure/cpu": "some avg10=3.00 avg60=0.00 avg300=0.00 total=0\n",
			},
			later: map[string]string{"sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "2500000000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_periods 20\nnr_throttled 10\nthrottled_time 9\n"},
			used:  1.5, limit: 2, throttled: Reading{Used: 1, Limit: 1}, pressure: Reading{Used: 0.03, Limit: 1},
		},
		{
			name: "version 1 without a quota: the machine", files: map[string]string{
				"proc/self/cgroup": "3:cpu:/\n2:cpuacct:/\n", "proc/self/mountinfo": fmt.Sprintf(mount1, "/"),
				"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			},
			later: map[string]string{"proc/stat": "cpu  300 0 200 9000 50 0 0 0 0 0\n"},
			used:  3, limit: 4,
		},
		{
			name: "files that say nonsense", files: map[string]string{
				"proc/self/cgroup": "::::\nx\n0::/../..\n", "proc/self/mountinfo": "garbage\n - cgroup2\n" + fmt.Sprintf(mount2, "/"),
				"sys/fs/cgroup/cpu.max": "lots\n", "proc/pressure/cpu": "some avg10=\n", "proc/stat": "cpu a b c d e f g h\n",
			},
			used: 0, limit: 4,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := system(c.files)
			cpu := NewCPU(fsys, 4)
			start := time.Unix(1000, 0)
			cpu.usage(start)
			cpu.throttling()
			for name, content := range c.later {
				fsys[name] = &fstest.MapFile{Data: []byte(content)}
			}
			if used, limit := cpu.usage(start.Add(time.Second)); used-c.used > 1e-9 || c.used-used > 1e-9 || limit != c.limit {
				t.Errorf("%v of %v processors, want %v of %v", used, limit, c.used, c.limit)
			}
			if share, limit := cpu.throttling(); share != c.throttled.Used || limit != c.throttled.Limit {
				t.Errorf("throttled in %v of %v, want %+v", share, limit, c.throttled)
			}
			if share, ok := cpu.group.stalled(); share != c.pressure.Used || known(ok) != c.pressure.Limit {
				t.Errorf("stalled for %v (%v), want %+v", share, ok, c.pressure)
			}
		})
	}
}

// TestCPUHere looks at the machine that the test runs on.
func TestCPUHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is nothing to read")
	}
	cpu := NewCPU(os.DirFS("/"), runtime.NumCPU())
	for _, s := range cpu.Sensors() {
		used, limit := s.Read()
		if used < 0 || s.Name == "cpu" && limit <= 0 || s.Grades != Nothing {
			t.Errorf("%s: %v of %v", s.Name, used, limit)
		}
	}
}
