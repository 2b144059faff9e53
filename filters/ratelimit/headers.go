package ratelimit

import (
	"strconv"
	"time"

	"github.com/weirproxy/weir/stream"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-06, which clients know
// best; later drafts fold them into structured ones.
const (
	limitField     = "RateLimit-Limit"
	remainingField = "RateLimit-Remaining"
	resetField     = "RateLimit-Reset"
)

// write says to the client what is left. Fields that an upstream has set about
// a limit of its own are replaced: the client is judged here first.
func (v *verdict) write(h *stream.Header) {
	h.Set(limitField, strconv.FormatInt(v.limit, 10))
	h.Set(remainingField, strconv.FormatInt(v.left, 10))
	h.Set(resetField, strconv.FormatInt(seconds(max(v.reset, 0)), 10))
}

// seconds are whole ones, never too few.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
