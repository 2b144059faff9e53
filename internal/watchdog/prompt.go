package watchdog

import (
	"context"
	"sync"
	"time"
)

// Prompt is a context that somebody may end and whose end a guard hears of at
// once, and not with the next sweep: it is for waits that another goroutine is to
// break off while somebody waits for the one who waits. It costs nothing until it
// is ended, unlike a context with a channel and a place in its parent's list: it
// is good for one wait after the other, with one guard at a time. Make one with
// NewPrompt.
type Prompt struct {
	parent context.Context

	mu     sync.Mutex
	ended  bool
	guard  *Guard             // the one that waits under it, or did last
	std    context.Context    // made when somebody wants a channel; nil until then
	cancel context.CancelFunc // of std
}

// NewPrompt is a context that ends with parent, or by End.
func NewPrompt(parent context.Context) *Prompt { return &Prompt{parent: parent} }

// End ends the context and what waits under it.
func (p *Prompt) End() {
	p.mu.Lock()
	p.ended = true
	g, cancel := p.guard, p.cancel
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if g != nil {
		g.cut(p)
	}
}

// Held tells whether somebody asked for a channel, so that the context has a place
// in the list of its parent, which End or Release gives back.
func (p *Prompt) Held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cancel != nil
}

// Release gives the place back, once nobody waits under the context any more.
func (p *Prompt) Release() {
	p.mu.Lock()
	cancel := p.cancel
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// entered notes the guard whose wait begins. It is cut at once if the context has
// ended before.
func (p *Prompt) entered(g *Guard) {
	p.mu.Lock()
	p.guard = g
	ended := p.ended
	p.mu.Unlock()
	if ended {
		g.cut(p)
	}
}

// cut expires the phase of g, if it is one that waits under p.
func (g *Guard) cut(p *Prompt) {
	d := g.dog
	d.mu.Lock() // as the sweep does: after Release nothing expires
	defer d.mu.Unlock()
	state := g.state.Load()
	phase := uint8(state)
	if g.index < 0 || phase == 0 || verdictOf(state) != None {
		return
	}
	g.until.Lock()
	mine := g.until.ctx == context.Context(p)
	g.until.Unlock()
	if mine && g.state.CompareAndSwap(state, state|uint64(Canceled)<<8) {
		g.expire(phase-1, Canceled)
	}
}

// Deadline implements context.Context.
func (p *Prompt) Deadline() (time.Time, bool) { return p.parent.Deadline() }

// Done implements context.Context.
func (p *Prompt) Done() <-chan struct{} { return p.standard().Done() }

// Err implements context.Context.
func (p *Prompt) Err() error {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended {
		return context.Canceled
	}
	return p.parent.Err()
}

// Value implements context.Context. What is made of a Prompt finds the standard
// context in it, and thereby needs no goroutine to learn of its end.
func (p *Prompt) Value(key any) any {
	p.mu.Lock()
	from := p.parent
	if p.std != nil {
		from = p.std
	}
	p.mu.Unlock()
	return from.Value(key)
}

// standard is a context of the standard library with the same end.
func (p *Prompt) standard() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.std == nil {
		p.std, p.cancel = context.WithCancel(p.parent)
		if p.ended {
			p.cancel()
		}
	}
	return p.std
}
