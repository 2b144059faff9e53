// Package chain folds the filters of a route around what serves it.
package chain

import (
	"fmt"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

// Bound is a filter with its settings, as its Decode returned them.
type Bound struct {
	Definition filter.Definition
	Settings   any
}

// Build makes the filters, the last first, each around the next; env is what the
// filter of that name may use, the number of its name from the front of the list,
// and last what stands behind all of them. With no filters it is last itself.
func Build(filters []Bound, env func(name string, number int) filter.Env, last stream.Service) (stream.Service, error) {
	service := last
	for i := len(filters) - 1; i >= 0; i-- {
		b := &filters[i]
		own := env(b.Definition.Name, numberOf(filters, i))
		built, err := b.Definition.Build(b.Settings, own, service)
		if err != nil {
			return nil, fmt.Errorf("route %s: filter %s, number %d of the list: %w",
				own.Route.Name, b.Definition.Name, i+1, err)
		}
		service = built
	}
	return service, nil
}

// numberOf is which one of its name filter i is; the first is 1.
func numberOf(filters []Bound, i int) int {
	number := 1
	for k := range filters[:i] {
		if filters[k].Definition.Name == filters[i].Definition.Name {
			number++
		}
	}
	return number
}
