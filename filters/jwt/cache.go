package jwt

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// cache remembers tokens that were verified, by the hash of the whole token. It
// has a lock for each of its shards: requests with different tokens seldom meet,
// and a verification costs a hundred times as much as a lock.
type cache struct {
	most   int // tokens of one shard
	shards [cacheShards]cacheShard
	hits   atomic.Int64
}

const cacheShards = 32

type cacheShard struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]*verdict
	_      [48]byte // its neighbour is another's
}

func newCache(size int) *cache {
	c := &cache{most: max(1, size/cacheShards)}
	for i := range c.shards {
		c.shards[i].tokens = map[[sha256.Size]byte]*verdict{}
	}
	return c
}

// get is the verdict on a token that is good still: not expired, and verified by
// the keys of today.
func (c *cache) get(sum [sha256.Size]byte, now time.Time) *verdict {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	v := s.tokens[sum]
	s.mu.Unlock()
	if v == nil || !now.Before(v.until) || v.source.Current(now) != v.set {
		return nil
	}
	c.hits.Add(1)
	return v
}

// put remembers a verdict. When there is no place, any other one goes: Go's maps
// begin anywhere, which nobody outside can foresee.
func (c *cache) put(sum [sha256.Size]byte, v *verdict) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.tokens[sum]; !known && len(s.tokens) >= c.most {
		for other := range s.tokens {
			delete(s.tokens, other)
			break
		}
	}
	s.tokens[sum] = v
}

// drop forgets a token that is not good any more.
func (c *cache) drop(sum [sha256.Size]byte) {
	s := &c.shards[sum[0]%cacheShards]
	s.mu.Lock()
	delete(s.tokens, sum)
	s.mu.Unlock()
}

func (c *cache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.tokens)
		s.mu.Unlock()
	}
	return n
}
