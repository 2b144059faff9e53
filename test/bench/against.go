//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// slice is how long one of two binaries has the load before the other gets it:
// short against the changes of speed of a shared machine, long against the
// switch.
const slice = 40 * time.Millisecond

// contender is one of two binaries that are compared.
type contender struct {
	running  *running
	loop     *loop
	pids     []int
	cpu      time.Duration
	requests int64
}

// against compares two weir binaries, both running, under the load in turns of
// one slice, so that whatever else the machine does meets both of them. It
// says more about a change than two rows of the table, which are minutes
// apart.
func against(o options, other string) error {
	for _, c := range cases() {
		if !o.only.MatchString(c.name) || c.external() || c.tcp || !c.has("weir") {
			continue
		}
		var quotients []float64
		var sums [2]contender
		for range o.rounds {
			pair, err := duel(o, c, [2]string{absolute(o.weir), absolute(other)})
			if err != nil {
				return fmt.Errorf("case %q: %w", c.name, err)
			}
			quotients = append(quotients, pair[0].perRequest()/pair[1].perRequest())
			for i := range sums {
				sums[i].cpu += pair[i].cpu
				sums[i].requests += pair[i].requests
			}
		}
		printAgainst(os.Stdout, c.name, sums, quotients)
	}
	return nil
}

func printAgainst(w io.Writer, name string, sums [2]contender, quotients []float64) {
	slices.SortFunc(quotients, cmp.Compare[float64])
	n := len(quotients)
	_, _ = fmt.Fprintf(w, "%s: %.2f us CPU per request, the other %.2f; quotient %.3f (%.3f-%.3f, %d rounds)\n",
		name, sums[0].perRequest(), sums[1].perRequest(), quotients[n/2], quotients[0], quotients[n-1], n)
}

// perRequest is in microseconds.
func (c *contender) perRequest() float64 {
	return float64(c.cpu.Nanoseconds()) / 1e3 / float64(max(c.requests, 1))
}

// duel starts both binaries and gives them the load in turns.
func duel(o options, c benchCase, binaries [2]string) (pair [2]contender, err error) {
	for i := range pair {
		if err := pair[i].start(o, c, binaries[i]); err != nil {
			return pair, err
		}
		defer pair[i].stop()
	}
	for i := range pair {
		if err := pair[i].loop.drive(time.Now().Add(o.warm), nil); err != nil {
			return pair, err
		}
	}
	for end := time.Now().Add(2 * o.time); time.Now().Before(end); {
		for i := range pair {
			if err := pair[i].turn(); err != nil {
				return pair, err
			}
		}
	}
	return pair, nil
}

func (c *contender) start(o options, bc benchCase, binary string) error {
	upstream, err := freePort()
	if err != nil {
		return err
	}
	listen, err := freePort()
	if err != nil {
		return err
	}
	p := proxy{name: "weir", files: func(dir string, s setup) ([]string, error) { return weirFiles(binary, dir, s) }}
	s := setup{listen: listen.String(), upstream: upstream.String(), routes: bc.routes, connections: connections, feature: bc.feature}
	if c.running, err = p.start(o.proxyCore, s); err != nil {
		return err
	}
	c.pids = c.running.pids()
	c.loop, err = newLoop(load{
		target: sockaddr(listen), upstream: sockaddr(upstream), conns: bc.conns, request: bc.request(), response: bc.answer(),
		endpoints: bc.feature.endpoints, closeEach: bc.close,
	})
	if err != nil {
		return err
	}
	for range bc.conns {
		if err := c.loop.dial(); err != nil {
			return err
		}
	}
	return nil
}

func (c *contender) stop() {
	if c.loop != nil {
		c.loop.close()
	}
	if c.running != nil {
		c.running.stop()
	}
}

// turn gives the load for one slice. What is on its way at the end of a slice
// is read in the next.
func (c *contender) turn() error {
	before, err := cpuTime(c.pids)
	if err != nil {
		return err
	}
	c.loop.counting, c.loop.out.requests = true, 0
	if err := c.loop.drive(time.Now().Add(slice), nil); err != nil {
		return err
	}
	after, err := cpuTime(c.pids)
	if err != nil {
		return err
	}
	c.cpu += after - before
	c.requests += c.loop.out.requests
	return nil
}
