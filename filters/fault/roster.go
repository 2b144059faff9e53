package fault

import (
	"context"
	"slices"
	"sync"
	"time"
)

// roster has the drills of a route: there may be several filters of this kind
// on it, and an operator means all of them.
type roster struct {
	mu     sync.Mutex
	drills []*drill // one for each filter of each generation
}

// enter has d in the roster as long as its generation lives.
func (r *roster) enter(ctx context.Context, d *drill) {
	r.mu.Lock()
	r.drills = append(r.drills, d)
	r.mu.Unlock()
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if at := slices.Index(r.drills, d); at >= 0 {
			r.drills = slices.Delete(r.drills, at, at+1)
		}
	})
}

// each lists every drill once.
func (r *roster) each() []*drill {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*drill
	for _, d := range r.drills {
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}

func (r *roster) stop() {
	for _, d := range r.each() {
		d.stop()
	}
}

func (r *roster) view() []View {
	views := []View{}
	for _, d := range r.each() {
		views = append(views, d.view(time.Now()))
	}
	return views
}
