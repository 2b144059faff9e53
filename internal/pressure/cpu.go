package pressure

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// CPU is what the process, or who shares its quota, uses of its processors. It
// is shown and decides nothing: a proxy that uses all of them is busy, and one
// of which the system has more work than it can do shows in Delay.
type CPU struct {
	group group
	cpus  float64 // of the machine

	at                 time.Time
	used               float64 // seconds, ever
	periods, throttled float64 // ever
}

// NewCPU finds out what bounds the process; fsys begins at "/".
func NewCPU(fsys fs.FS, cpus int) *CPU {
	return &CPU{group: findGroup(fsys), cpus: float64(cpus)}
}

// Sensors are what there is to see: the share that is used, the share of the
// periods in which the quota ran out, and that of the time in which something
// waited (PSI). What the system does not tell has no limit.
func (c *CPU) Sensors() []Sensor {
	return []Sensor{
		{Name: "cpu", Grades: Nothing, Read: func() (float64, float64) { return c.usage(time.Now()) }},
		{Name: "cpu_throttled", Grades: Nothing, Read: c.throttling},
		{Name: "cpu_pressure", Grades: Nothing, Read: func() (float64, float64) {
			share, ok := c.group.stalled()
			return share, known(ok)
		}},
	}
}

// known is the limit of a share.
func known(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// usage is how many processors were used since the last call.
func (c *CPU) usage(now time.Time) (used, limit float64) {
	total, ok := c.total()
	before, since := c.used, now.Sub(c.at).Seconds()
	first := c.at.IsZero()
	c.used, c.at = total, now
	if limit = c.group.quota(); limit == 0 {
		limit = c.cpus
	}
	if first || !ok || since <= 0 {
		return 0, limit
	}
	return max(total-before, 0) / since, limit
}

// total is the time used ever: by the group that has a quota, else by all that
// run on the machine, who share it.
func (c *CPU) total() (float64, bool) {
	if c.group.quota() > 0 {
		if used, ok := c.group.used(); ok {
			return used, true
		}
	}
	first, _, _ := strings.Cut(read(c.group.fsys, "proc/stat"), "\n")
	fields := strings.Fields(first)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, false
	}
	busy := 0.0
	for i, field := range fields[1:8] {
		if i == 3 || i == 4 { // idle, and waiting for disks
			continue
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, false
		}
		busy += n
	}
	const perSecond = 100 // USER_HZ, the same on every platform of Go
	return busy / perSecond, true
}

func (c *CPU) throttling() (share, limit float64) {
	now := c.group.stat()
	periods, ok := now["nr_periods"]
	passed, without := periods-c.periods, now["nr_throttled"]-c.throttled
	first := c.periods == 0
	c.periods, c.throttled = periods, now["nr_throttled"]
	if !ok || periods == 0 {
		return 0, 0
	}
	if first || passed <= 0 {
		return 0, 1
	}
	return without / passed, 1
}
