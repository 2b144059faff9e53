//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// result is one case against one proxy in one round.
type result struct {
	perSecond      float64
	cpu            float64       // microseconds of the proxy per request
	busy           float64       // share of its core that the proxy used
	p50, p99, p999 time.Duration // 0: the generator does not tell
	idleRSS, rss   int64
	errors         int64
}

// table gathers the results of all rounds and prints their medians.
type table struct {
	rounds  int
	order   []benchCase
	proxies map[string][]string
	results map[[2]string][]result
}

func newTable(rounds int) *table {
	return &table{rounds: rounds, proxies: map[string][]string{}, results: map[[2]string][]result{}}
}

func (t *table) add(c benchCase, proxy string, r result) {
	if !slices.ContainsFunc(t.order, func(o benchCase) bool { return o.name == c.name }) {
		t.order = append(t.order, c)
	}
	if !slices.Contains(t.proxies[c.name], proxy) {
		t.proxies[c.name] = append(t.proxies[c.name], proxy)
	}
	key := [2]string{c.name, proxy}
	t.results[key] = append(t.results[key], r)
}

func median[T int64 | float64 | time.Duration](rs []result, of func(result) T) T {
	values := make([]T, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// print writes Markdown, as the README shows it.
func (t *table) print(w io.Writer) error {
	if len(t.order) == 0 {
		return nil
	}
	if _, err := fmt.Fprint(w, "| case | proxy | req/s | CPU us/req | x nginx | x haproxy | x httputil | core % | p50 us | p99 us | p99.9 us | RSS idle MB | RSS MB | errors |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, c := range t.order {
		for _, proxy := range t.proxies[c.name] {
			rs := t.results[[2]string{c.name, proxy}]
			us := func(of func(result) time.Duration) string {
				if d := median(rs, of); d > 0 {
					return fmt.Sprintf("%.0f", float64(d)/1e3)
				}
				return "-"
			}
			if _, err := fmt.Fprintf(w, "| %s | %s | %.0f | %.2f | %s | %s | %s | %.0f | %s | %s | %s | %.1f | %.1f | %d |\n", c.name, proxy,
				median(rs, func(r result) float64 { return r.perSecond }),
				median(rs, func(r result) float64 { return r.cpu }),
				t.ratio(c.name, proxy, "nginx"), t.ratio(c.name, proxy, "haproxy"), t.ratio(c.name, proxy, "httputil"),
				100*median(rs, func(r result) float64 { return r.busy }),
				us(func(r result) time.Duration { return r.p50 }),
				us(func(r result) time.Duration { return r.p99 }),
				us(func(r result) time.Duration { return r.p999 }),
				float64(median(rs, func(r result) int64 { return r.idleRSS }))/1e6,
				float64(median(rs, func(r result) int64 { return r.rss }))/1e6,
				median(rs, func(r result) int64 { return r.errors })); err != nil {
				return err
			}
		}
	}
	if err := t.printUnits(w); err != nil {
		return err
	}
	return t.printFeatures(w)
}

// printUnits is what is done in a second of CPU time, for the cases in which
// that is the figure people know: more is better.
func (t *table) printUnits(w io.Writer) error {
	if !slices.ContainsFunc(t.order, func(c benchCase) bool { return c.unit != "" }) {
		return nil
	}
	if _, err := fmt.Fprint(w, "\n| case | proxy | per CPU second | x nginx | x haproxy |\n|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, c := range t.order {
		if c.unit == "" {
			continue
		}
		for _, proxy := range t.proxies[c.name] {
			rs := t.results[[2]string{c.name, proxy}]
			if _, err := fmt.Fprintf(w, "| %s | %s | %.0f %s | %s | %s |\n", c.name, proxy,
				median(rs, func(r result) float64 { return c.perRequest() * 1e6 / r.cpu }), c.unit,
				t.ratio(c.name, "nginx", proxy), t.ratio(c.name, "haproxy", proxy)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ratio is the CPU time per request of a proxy over that of another: the median
// over the rounds of the quotient within a round, because the machine's speed
// drifts.
func (t *table) ratio(name, proxy, base string) string {
	own, other := t.results[[2]string{name, proxy}], t.results[[2]string{name, base}]
	if len(other) == 0 || len(other) != len(own) {
		return "-"
	}
	ratios := make([]float64, len(own))
	for i := range own {
		ratios[i] = own[i].cpu / other[i].cpu
	}
	slices.Sort(ratios)
	return fmt.Sprintf("%.2f", ratios[len(ratios)/2])
}
