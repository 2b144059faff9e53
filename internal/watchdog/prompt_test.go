package watchdog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPromptCutsAtOnce: no time passes between the end of a Prompt and that of the
// wait under it, whichever comes first.
func TestPromptCutsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(g *Guard, p *Prompt)
		want Verdict
	}{
		{"while it waits", func(g *Guard, p *Prompt) { g.EnterUntil(quiet, p, time.Time{}); p.End() }, Canceled},
		{"before it waits", func(g *Guard, p *Prompt) { p.End(); g.EnterUntil(quiet, p, time.Time{}) }, Canceled},
		{"in the next wait", func(g *Guard, p *Prompt) {
			g.EnterUntil(quiet, p, time.Time{})
			g.EnterIdle(timed, p, time.Time{}, time.Minute)
			p.End()
		}, Canceled},
		{"after it", func(g *Guard, p *Prompt) { g.EnterUntil(quiet, p, time.Time{}); g.Rest(); p.End() }, None},
		{"in another's wait", func(g *Guard, p *Prompt) {
			g.EnterUntil(quiet, p, time.Time{})
			g.EnterUntil(quiet, context.Background(), time.Time{})
			p.End()
		}, None},
		{"released", func(g *Guard, p *Prompt) { g.EnterUntil(quiet, p, time.Time{}); g.Release(); p.End() }, None},
		{"let go of", func(g *Guard, p *Prompt) { g.EnterUntil(quiet, p, time.Time{}); p.Release() }, None},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, fired := watch(t, nil)
				c.run(g, NewPrompt(t.Context()))
				expect(t, fired, c.want)
				if c.want != None {
					time.Sleep(time.Second)
					expect(t, fired, None) // once
				}
			})
		})
	}
}

// TestPromptIsAContext: whoever knows the standard library alone sees the same end,
// that of the Prompt or of its parent.
func TestPromptIsAContext(t *testing.T) {
	for _, c := range []struct {
		name    string
		byChild bool // something is made of it before it ends
		parent  bool // its parent ends
	}{{name: "ended"}, {name: "with a child", byChild: true}, {name: "by its parent", parent: true}, {"by its parent with a child", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				type key struct{}
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "x"))
				defer cancel()
				p := NewPrompt(parent)
				defer p.Release()
				if p.Err() != nil || p.Value(key{}) != "x" || p.Held() {
					t.Fatal("it has ended, knows nothing of its parent, or holds a place before anybody asked")
				}
				var child context.Context = p
				if c.byChild {
					var stop context.CancelFunc
					child, stop = context.WithTimeout(p, time.Hour)
					defer stop()
				}
				if c.parent {
					cancel()
				} else {
					p.End()
				}
				<-child.Done()
				if !errors.Is(child.Err(), context.Canceled) || !errors.Is(p.Err(), context.Canceled) || p.Value(key{}) != "x" || !p.Held() {
					t.Errorf("child %v, itself %v", child.Err(), p.Err())
				}
			})
		})
	}
}

// TestPromptReleaseKeepsNothing: its parent does not know it any more.
func TestPromptReleaseKeepsNothing(t *testing.T) {
	p := NewPrompt(t.Context())
	done := p.Done()
	p.Release()
	<-done
}

func TestAllocsPrompt(t *testing.T) {
	var d Dog
	var g Guard
	d.Watch(&g, limits, func(uint8, Verdict) {}, nil)
	defer g.Release()
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		g.EnterUntil(timed, NewPrompt(ctx), time.Time{})
		g.Rest()
	}); n > 1 {
		t.Errorf("%v allocations, want that of the Prompt", n)
	}
}
