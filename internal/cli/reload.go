package cli

import (
	"context"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/plane"
	"github.com/weirproxy/weir/internal/proxy/admin"
)

// reloader is POST /reload.
func reloader(p *plane.Plane) func(context.Context) (admin.ReloadResult, error) {
	return func(context.Context) (admin.ReloadResult, error) {
		r := p.Reload("admin API")
		result := admin.ReloadResult{Changed: r.Changed, Held: []string{}, Problems: r.Problems}
		if result.Problems == nil {
			result.Problems = config.Problems{}
		}
		if r.Snapshot != nil {
			result.Snapshot = r.Snapshot.Number
			for _, h := range r.Snapshot.Held {
				result.Held = append(result.Held, strings.TrimSpace(h.Kind+" "+h.Name)) // parts that stand once have no name
			}
		}
		return result, r.Err
	}
}
