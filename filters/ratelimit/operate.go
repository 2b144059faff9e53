package ratelimit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/requestkey"
)

// operate is what operators see and may do. Keys are never shown: they are
// addresses and credentials of people.
func (s *service) operate(env filter.Env) {
	env.Show(func() any { return s.show(time.Now()) })
	env.Operate("reset", func(_ context.Context, input []byte) (any, error) { return s.reset(input) })
}

// shown is what operators see of a limit.
type shown struct {
	Limit     string `json:"limit"`
	Allowed   int64  `json:"allowed"`
	Refused   int64  `json:"refused"`
	Shadowed  int64  `json:"shadow_refused"`
	Keys      int    `json:"keys"`      // that are not as if they had never come
	Places    int    `json:"places"`    // for keys
	Displaced int64  `json:"displaced"` // how often a key had to share a place
	Bytes     int    `json:"bytes"`
}

func (s *service) show(now time.Time) []shown {
	list := make([]shown, 0, len(s.limits))
	for _, l := range s.limits {
		r, table := l.meter.read(now, l.state.begun), l.state.table
		list = append(list, shown{
			Limit: l.name, Allowed: l.allowed.Value(), Refused: l.refused.Value(), Shadowed: l.shadowed.Value(),
			Keys: table.Held(r.floor), Places: table.Places(), Displaced: table.Evicted(), Bytes: table.Bytes(),
		})
	}
	return list
}

// whose is the input of reset: nothing for all limits.
type whose struct {
	Limit string `json:"limit"`
	// Key has the values of one key in the order of the document; null for one
	// that requests did not have.
	Key []*string `json:"key"`
}

func (s *service) reset(input []byte) (any, error) {
	var w whose
	if len(input) > 0 {
		if err := json.Unmarshal(input, &w); err != nil {
			return nil, fmt.Errorf(`reset takes {"limit": NAME, "key": [VALUE, ...]}, both optional: %w`, err)
		}
	}
	reset := 0
	for _, l := range s.limits {
		if w.Limit != "" && w.Limit != l.name {
			continue
		}
		if l.shared != nil {
			l.shared.leases.clear()
		}
		if len(w.Key) == 0 {
			l.state.table.Clear()
			reset++
			continue
		}
		if len(w.Key) != len(l.keys) {
			return nil, fmt.Errorf("limit %s: its key has %d values, and %d stand in the input", l.name, len(l.keys), len(w.Key))
		}
		if l.state.table.Forget(requestkey.SumOf(l.state.seed, w.Key)) {
			reset++
		}
	}
	if w.Limit != "" && reset == 0 && len(w.Key) == 0 {
		return nil, fmt.Errorf("there is no limit %q", w.Limit)
	}
	return map[string]int{"reset": reset}, nil
}
