package fault

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// Each distribution, by dice that say where in it. The first roll is the share.
func TestDelay(t *testing.T) {
	const histogram = "histogram: [{up_to: 50ms, weight: 90}, {up_to: 250ms, weight: 0}, {up_to: 1050ms, weight: 10}]"
	for _, c := range []struct {
		name, how string
		dice      loaded
		want      time.Duration
	}{
		{"fixed", "fixed: 200ms", loaded{rolls: []float64{0}}, 200 * time.Millisecond},
		{"just outside of the share", "fixed: 200ms", loaded{rolls: []float64{0.1}}, 0},
		{"uniform, least", "uniform: {min: 100ms, max: 1100ms}", loaded{rolls: []float64{0.09, 0}}, 100 * time.Millisecond},
		{"uniform, middle", "uniform: {min: 100ms, max: 1100ms}", loaded{rolls: []float64{0, 0.5}}, 600 * time.Millisecond},
		{"normal, mean", "normal: {mean: 300ms, deviation: 100ms}", loaded{rolls: []float64{0}}, 300 * time.Millisecond},
		{"normal, above", "normal: {mean: 300ms, deviation: 100ms}", loaded{rolls: []float64{0}, normal: 2}, 500 * time.Millisecond},
		{"normal, negative", "normal: {mean: 300ms, deviation: 100ms}", loaded{rolls: []float64{0}, normal: -4}, 0},
		{"normal, beyond max", "normal: {mean: 300ms, deviation: 100d}", loaded{rolls: []float64{0}, normal: 1e9}, 30 * time.Second},
		{"histogram, first bucket", histogram, loaded{rolls: []float64{0, 0.89, 0.5}}, 25 * time.Millisecond},
		{"histogram, last bucket", histogram, loaded{rolls: []float64{0, 0.9, 0.5}}, 650 * time.Millisecond},
		{"histogram, its end", histogram, loaded{rolls: []float64{0, 0.999, 0.999}}, 1049200 * time.Microsecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, "{delay: {share: 0.1, "+c.how+"}}", &c.dice)
			begin := time.Now()
			out := b.get()
			if took := time.Since(begin); took != c.want || out.status != 200 || out.body != "ok" || !out.sent {
				t.Errorf("%s: %v, want %v: %+v", c.name, took, c.want, out)
			}
			if status, told := out.header.Get("Proxy-Status"); told != (c.name != "just outside of the share") {
				t.Errorf("%s: Proxy-Status %q", c.name, status)
			}
			if b.drill.active.Load() != 0 {
				t.Errorf("%s: it is still under way", c.name)
			}
		})
	}
}

// A wait ends with the request, with the drill, and when it is stopped.
func TestDelayEnds(t *testing.T) {
	const slow = "{delay: {share: 0.1, fixed: 30s}, abort: {share: 0.1, status: 503}, stop: {after: 10s}}"
	for _, c := range []struct {
		name string
		end  func(b *bench, cancel context.CancelFunc)
		want time.Duration
		gone bool
	}{
		{"the client goes", func(_ *bench, cancel context.CancelFunc) { cancel() }, 3 * time.Second, true},
		{"an operator stops it", func(b *bench, _ context.CancelFunc) {
			if _, err := b.house.Operate(context.Background(), "stop", nil); err != nil {
				b.t.Error(err)
			}
		}, 3 * time.Second, false},
		{"the drill is over", func(*bench, context.CancelFunc) {}, 10 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, slow, always())
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			begin := time.Now()
			time.AfterFunc(3*time.Second, func() { c.end(b, cancel) })
			out := b.ask(ctx, filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content"))
			if took := time.Since(begin); took != c.want {
				t.Errorf("%s: %v, want %v", c.name, took, c.want)
			}
			switch {
			case c.gone && (out.fault == nil || out.fault.Kind != stream.ClientGone || out.sent):
				t.Errorf("%s: %+v, want client_gone", c.name, out)
			case !c.gone && (out.status != 200 || !out.sent):
				t.Errorf("%s: %+v, want it served, and not aborted any more", c.name, out)
			}
			b.counted(injectedBy("delay"), 1)
			b.counted(injectedBy("status"), 0)
			if b.drill.active.Load() != 0 {
				t.Errorf("%s: it is still under way", c.name)
			}
		})
	}
}
