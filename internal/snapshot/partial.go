package snapshot

import (
	"errors"
	"slices"

	"github.com/weirproxy/weir/config"
)

// Partial is the error of a snapshot that runs, but not all of it: objects
// that could not start (an address that is taken) keep what they had.
type Partial struct {
	Held []Held // what could not start, each with the reason
}

// Add notes that an object could not start.
func (p *Partial) Add(kind, name string, pos config.Pos, err error) {
	object := kind
	if name != "" {
		object += " " + name
	}
	p.Held = append(p.Held, Held{Kind: kind, Name: name, Problems: config.Problems{{
		Pos: pos, Severity: config.Error, Object: object, What: err.Error(), Fix: "the last good state of it stays",
	}}})
}

// With is s with what could not start among the held objects.
func (s *Snapshot) With(p *Partial) *Snapshot {
	if len(p.Held) == 0 {
		return s
	}
	running := *s
	running.Held = slices.Clone(p.Held)
	for _, h := range s.Held {
		if !slices.ContainsFunc(p.Held, func(x Held) bool { return x.Kind == h.Kind && x.Name == h.Name }) {
			running.Held = append(running.Held, h)
		}
	}
	return &running
}

// Problems are the reasons of all.
func (p *Partial) Problems() config.Problems {
	var all config.Problems
	for _, h := range p.Held {
		all = append(all, h.Problems...)
	}
	return all
}

func (p *Partial) Error() string {
	reasons := make([]error, 0, len(p.Held))
	for _, problem := range p.Problems() {
		reasons = append(reasons, errors.New(problem.What))
	}
	return errors.Join(reasons...).Error()
}
