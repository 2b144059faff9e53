package compile

import "github.com/weirproxy/weir/config"

// checkCanary looks at a version that gets a growing share.
func checkCanary(spec *config.Route, r *config.Report) {
	c := spec.Canary
	if c == nil {
		return
	}
	if len(spec.To) == 0 {
		r.Errorf("", "write the present version under to", "a canary has nothing to be compared with")
	}
	for i := range spec.To {
		if to := &spec.To[i]; to.Cluster == c.Cluster && !apart(to.Labels, c.Labels) {
			r.Errorf("cluster", "leave it under canary alone, or give both a label with another value, version: v1 and version: v2",
				"cluster %q stands under %s, too, so that endpoints would be compared with themselves", c.Cluster, index("to", i))
		}
	}
	if len(c.Steps) == 0 {
		r.Errorf("steps", "write for example [0.05, 0.25, 0.5, 1]", "the canary has no steps")
	}
	last := 0.0
	for i, share := range c.Steps {
		if share <= last || share > 1 {
			r.Errorf(index("steps", i), "write growing shares from above 0 to 1", "step %v is not above the one before (%v) and up to 1", share, last)
		}
		last = share
	}
	needed(r, "hold", c.Hold)
	if c.FalseAlarm <= 0 {
		r.Errorf("false_alarm", "write 0.01", "with a false_alarm of %v no evidence would ever be enough", c.FalseAlarm)
	}
	if c.SlowFactor != 0 && c.SlowFactor < 1 {
		r.Errorf("slow_factor", "write for example 1.5, or 0 where only errors count", "slow_factor %v calls what is faster than the others slow", c.SlowFactor)
	}
	if c.SlowQuantile < 0.5 || c.SlowQuantile >= 1 {
		r.Errorf("slow_quantile", "write 0.9", "slow_quantile %v is not from 0.5 to below 1", c.SlowQuantile)
	}
	if c.MinRequests < 20 {
		r.Warnf("min_requests", "write 50", "%d requests say little: one that fails by chance is much of them", c.MinRequests)
	}
}

// apart tells whether no endpoint can have both: a label has two values.
func apart(a, b map[string]string) bool {
	for name, value := range a {
		if other, ok := b[name]; ok && other != value {
			return true
		}
	}
	return false
}
