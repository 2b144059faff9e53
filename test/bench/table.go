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
	cpu            float64 // microseconds of the proxy per request
	p50, p99, p999 time.Duration
	idleRSS, rss   int64
	errors         int64
}

// table gathers the results of all rounds and prints their medians.
type table struct {
	rounds  int
	order   []string
	proxies map[string][]string
	results map[[2]string][]result
}

func newTable(rounds int) *table {
	return &table{rounds: rounds, proxies: map[string][]string{}, results: map[[2]string][]result{}}
}

func (t *table) add(name, proxy string, r result) {
	if !slices.Contains(t.order, name) {
		t.order = append(t.order, name)
	}
	if !slices.Contains(t.proxies[name], proxy) {
		t.proxies[name] = append(t.proxies[name], proxy)
	}
	key := [2]string{name, proxy}
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

// print writes Markdown, as the README shows it. The ratio is the median over
// the rounds of the quotient within a round: the machine's speed drifts.
func (t *table) print(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| case | proxy | req/s | CPU us/req | x nginx | p50 us | p99 us | p99.9 us | RSS idle MB | RSS MB | errors |\n|---|---|---|---|---|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, name := range t.order {
		for _, proxy := range t.proxies[name] {
			rs := t.results[[2]string{name, proxy}]
			us := func(of func(result) time.Duration) float64 { return float64(median(rs, of)) / 1e3 }
			if _, err := fmt.Fprintf(w, "| %s | %s | %.0f | %.2f | %s | %.0f | %.0f | %.0f | %.1f | %.1f | %d |\n", name, proxy,
				median(rs, func(r result) float64 { return r.perSecond }),
				median(rs, func(r result) float64 { return r.cpu }),
				t.ratio(name, proxy),
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
	return nil
}

func (t *table) ratio(name, proxy string) string {
	own, base := t.results[[2]string{name, proxy}], t.results[[2]string{name, "nginx"}]
	if len(base) != len(own) {
		return "-"
	}
	ratios := make([]float64, len(own))
	for i := range own {
		ratios[i] = own[i].cpu / base[i].cpu
	}
	slices.Sort(ratios)
	return fmt.Sprintf("%.2f", ratios[len(ratios)/2])
}
