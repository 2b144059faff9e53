package cache

import (
	"strconv"
	"time"
)

// texts are the field values of one second, made once for all hits in it.
type texts struct {
	second int64 // of age
	age    string
	hit    string
}

// textsAt are the values of Age and Cache-Status at an age.
func (o *object) textsAt(age time.Duration) *texts {
	second := int64(age / time.Second)
	if t := o.texts.Load(); t != nil && t.second == second {
		return t
	}
	ttl := int64(o.terms.Lifetime/time.Second) - second
	t := &texts{second: second, age: strconv.FormatInt(second, 10), hit: statusHit + strconv.FormatInt(ttl, 10)}
	o.texts.Store(t)
	return t
}

// The values of Cache-Status (RFC 9211). The key is not shown: it has the query
// and the headers of somebody.
const (
	statusHit         = "weir; hit; ttl="
	statusMiss        = "weir; fwd=uri-miss"
	statusVaryMiss    = "weir; fwd=vary-miss"
	statusStale       = "weir; fwd=stale"
	statusRequest     = "weir; fwd=request"
	statusBypass      = "weir; fwd=bypass"
	statusMethod      = "weir; fwd=method"
	statusPartial     = "weir; fwd=partial"
	suffixStored      = "; stored"
	suffixCollapsed   = "; collapsed"
	suffixConfirmed   = "; fwd-status=304"
	suffixDetail      = "; detail="
	suffixStatus      = "; fwd-status="
	detailStale       = "stale_if_error"
	detailGuard       = "key_guard"
	detailUncacheable = "known_uncacheable"
	detailUnshared    = "not_for_this_client"
	detailOnlyCached  = "only_if_cached"
)
