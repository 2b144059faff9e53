package pressure

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// group is the cgroup of the process that bounds its time most, in a file
// system that begins at "/".
type group struct {
	fsys fs.FS
	dir  string // of its files; "" for none
	v2   bool
	// accounts is where version 1 counts the time that was used.
	accounts string
}

// findGroup looks where the process is, and goes up from there.
func findGroup(fsys fs.FS) (g group) {
	g.fsys = fsys
	places := placesOf(read(fsys, "proc/self/cgroup"))
	mounts := read(fsys, "proc/self/mountinfo")
	top, dir := "", ""
	if own, ok := places["cpu"]; ok {
		top, dir = mounted(mounts, "cgroup", "cpu", own)
		_, g.accounts = mounted(mounts, "cgroup", "cpuacct", places["cpuacct"])
	}
	if dir == "" {
		g.v2 = true
		top, dir = mounted(mounts, "cgroup2", "", places[""])
	}
	least := 0.0
	for at := dir; dir != ""; at = path.Dir(at) {
		if quota := g.quotaAt(at); quota > 0 && (least == 0 || quota < least) {
			least, g.dir = quota, at
		}
		if at == top || at == "." {
			break
		}
	}
	if g.dir == "" && g.v2 {
		g.dir = dir // no quota, but a count of what was used
	}
	return g
}

// placesOf is where the process is, by controller; "" is that of version 2.
func placesOf(text string) map[string]string {
	places := map[string]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			places[controller] = parts[2]
		}
	}
	return places
}

// mounted is where the files of a group are, and of the topmost one that can be
// seen: a container sees only a part of the tree (proc(5), mountinfo).
func mounted(mounts, kind, controller, own string) (top, dir string) {
	for line := range strings.Lines(mounts) {
		before, after, found := strings.Cut(line, " - ")
		fields, last := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(last) < 3 || last[0] != kind {
			continue
		}
		if controller != "" && !slices.Contains(strings.Split(last[2], ","), controller) {
			continue
		}
		below := own
		if root := fields[3]; root != "/" {
			below = strings.TrimPrefix(own, root)
		}
		top = strings.TrimPrefix(fields[4], "/")
		if below = strings.Trim(below, "/"); below == "" || strings.HasPrefix(below, "..") {
			return top, top
		}
		return top, path.Join(top, below)
	}
	return "", ""
}

// quota is how many processors the group may use; 0: as many as there are.
func (g *group) quota() float64 { return g.quotaAt(g.dir) }

func (g *group) quotaAt(dir string) float64 {
	var limit, period string
	if g.v2 {
		limit, period, _ = strings.Cut(strings.TrimSpace(read(g.fsys, path.Join(dir, "cpu.max"))), " ")
	} else {
		limit = strings.TrimSpace(read(g.fsys, path.Join(dir, "cpu.cfs_quota_us")))
		period = strings.TrimSpace(read(g.fsys, path.Join(dir, "cpu.cfs_period_us")))
	}
	l, err := strconv.ParseFloat(limit, 64) // "max", or -1: no limit
	p, wrong := strconv.ParseFloat(period, 64)
	if err != nil || wrong != nil || l <= 0 || p <= 0 {
		return 0
	}
	return l / p
}

// used is the processor time that the group has used, in seconds.
func (g *group) used() (float64, bool) {
	if g.v2 {
		n, ok := g.stat()["usage_usec"]
		return n / 1e6, ok
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(read(g.fsys, path.Join(g.accounts, "cpuacct.usage"))), 64)
	return n / 1e9, err == nil
}

// stat has the numbers of cpu.stat.
func (g *group) stat() map[string]float64 {
	numbers := map[string]float64{}
	if g.dir == "" {
		return numbers
	}
	for line := range strings.Lines(read(g.fsys, path.Join(g.dir, "cpu.stat"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}

// stalled is the share of the last ten seconds in which something waited for a
// processor (PSI), of the group or of the whole system.
func (g *group) stalled() (share float64, ok bool) {
	text := ""
	if g.v2 && g.dir != "" {
		text = read(g.fsys, path.Join(g.dir, "cpu.pressure"))
	}
	if text == "" {
		text = read(g.fsys, "proc/pressure/cpu")
	}
	for line := range strings.Lines(text) {
		if rest, some := strings.CutPrefix(line, "some avg10="); some {
			value, _, _ := strings.Cut(rest, " ")
			n, err := strconv.ParseFloat(value, 64)
			return n / 100, err == nil
		}
	}
	return 0, false
}

// read is the content of a small file; "" when there is none.
func read(fsys fs.FS, name string) string {
	content, err := fs.ReadFile(fsys, name)
	if err != nil {
		return ""
	}
	return string(content)
}
