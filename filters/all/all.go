// Package all is the list of the filters that a standard build has.
package all

import (
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/bandwidthlimit"
	"github.com/weirproxy/weir/filters/cache"
	"github.com/weirproxy/weir/filters/compress"
	"github.com/weirproxy/weir/filters/concurrencylimit"
	"github.com/weirproxy/weir/filters/fault"
	"github.com/weirproxy/weir/filters/grpcweb"
	"github.com/weirproxy/weir/filters/headers"
	"github.com/weirproxy/weir/filters/jwt"
	"github.com/weirproxy/weir/filters/mirror"
	"github.com/weirproxy/weir/filters/ratelimit"
	"github.com/weirproxy/weir/filters/sizelimit"
	"github.com/weirproxy/weir/filters/transcode"
)

// Definitions are the filters, by name.
func Definitions() []filter.Definition {
	return []filter.Definition{
		bandwidthlimit.Definition(),
		cache.Definition(),
		compress.Definition(),
		concurrencylimit.Definition(),
		fault.Definition(),
		grpcweb.Definition(),
		headers.Definition(),
		jwt.Definition(),
		mirror.Definition(),
		ratelimit.Definition(),
		sizelimit.Definition(),
		transcode.Definition(),
	}
}
