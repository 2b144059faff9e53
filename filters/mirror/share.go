package mirror

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// share picks requests: a part of them, or of the values of a key.
type share struct {
	all   bool
	until uint64 // points below it are picked
	key   requestkey.Key
	salt  uint64
}

// newShare picks part of the requests. salt keeps the shares of two routes
// apart: who is in the one need not be in the other.
func newShare(part float64, key, salt string) (share, error) {
	s := share{all: part >= 1}
	if !s.all {
		s.until = uint64(math.Ldexp(part, 64)) // below 2^64, since part is below 1
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte("mirror " + salt)) // a hash takes everything
	s.salt = h.Sum64()
	if key == "" {
		return s, nil
	}
	var err error
	s.key, err = requestkey.Parse(key)
	return s, err
}

func (s *share) picks(req *stream.Request) bool {
	switch {
	case s.all:
		return true
	case s.until == 0:
		return false
	}
	return s.point(req) < s.until
}

// point is where on [0,1) a request lies, in units of 2^-64. That of a key does
// not move, so that a larger share has everybody that the smaller one had.
func (s *share) point(req *stream.Request) uint64 {
	hash, ok := s.key.Hash(req)
	if !ok {
		return rand.Uint64()
	}
	x := hash ^ s.salt // and the finaliser of MurmurHash3
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
