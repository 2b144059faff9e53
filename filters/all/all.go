// Package all is the list of the filters that a standard build has.
package all

import (
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/headers"
)

// Definitions are the filters, by name.
func Definitions() []filter.Definition {
	return []filter.Definition{
		headers.Definition(),
	}
}
