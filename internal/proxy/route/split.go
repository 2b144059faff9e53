package route

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// Side is one side of a split.
type Side struct {
	Name    string // of the cluster; sides are laid out in the order of their names
	Weight  int    // relative to the sum; 0 gets nothing
	Service stream.Service
	Exposed Exposure
}

// split shares requests out by weight. The sides lie one behind the other on
// [0,1), each as wide as its share, and a request takes the side that its point
// lies on. The point of a key never moves, so that a change of weights moves
// only the keys beside a boundary, on every replica and after every restart
// alike.
type split struct {
	sides []Side
	ends  []uint64 // sums of the weights up to and with each side
	key   requestkey.Key
	salt  uint64
}

// NewSplit makes an action that shares requests out over sides. key is in the
// words of the document; "" is random, and so is a request that has no value
// for it, or an empty one. salt, the name of the route, keeps the splits of two
// routes apart: a client on the small side of one need not be on that of the
// other. An error is a defect of the document.
func NewSplit(sides []Side, key, salt string) (stream.Service, error) {
	s := &split{sides: slices.Clone(sides), salt: mix(offset, salt)}
	slices.SortStableFunc(s.sides, func(a, b Side) int { return strings.Compare(a.Name, b.Name) })
	sum := uint64(0)
	for _, side := range s.sides {
		if side.Weight < 0 {
			return nil, fmt.Errorf("split: the weight of %q is %d; weights are 0 or more", side.Name, side.Weight)
		}
		sum += uint64(side.Weight)
		s.ends = append(s.ends, sum)
	}
	if key != "" {
		var err error
		if s.key, err = requestkey.Parse(key); err != nil {
			return nil, fmt.Errorf("split: %w", err)
		}
	}
	return s, nil
}

var errNoSide = errors.New("split: every weight is 0")

func (s *split) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	point, cause := s.place(req)
	i := s.side(point)
	if i < 0 {
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.NoCluster, Cause: errNoSide}
	}
	s.sides[i].Exposed.count(cause)
	return s.sides[i].Service.Serve(ctx, req)
}

// place is where on [0,1) a request lies, in units of 2^-64, and why there.
func (s *split) place(req *stream.Request) (point uint64, cause Cause) {
	var room [64]byte
	value, ok := s.key.AppendTo(room[:0], req)
	if !ok || len(value) == 0 {
		return rand.Uint64(), ByChance
	}
	return finish(mix(s.salt, value)), ByKey
}

// side is the side that a point lies on, or -1. at is point * sum / 2^64 in
// whole numbers, which compares with an end as the exact quotient does.
func (s *split) side(point uint64) int {
	if len(s.ends) == 0 {
		return -1
	}
	at, _ := bits.Mul64(point, s.ends[len(s.ends)-1])
	for i, end := range s.ends {
		if at < end {
			return i
		}
	}
	return -1
}

// The hash is 64-bit FNV-1a with the finalizer of MurmurHash3, which spreads
// short keys over all bits. It is part of what the document means: another hash
// would move every client, so its values stand in a test.
const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

// mix takes in one part and its length, so that parts do not run together.
func mix[T string | []byte](hash uint64, part T) uint64 {
	for i := 0; i < len(part); i++ {
		hash = (hash ^ uint64(part[i])) * prime
	}
	for n := uint64(len(part)); ; n >>= 8 {
		hash = (hash ^ n&0xff) * prime
		if n < 256 {
			return hash
		}
	}
}

func finish(hash uint64) uint64 {
	hash ^= hash >> 33
	hash *= 0xff51afd7ed558ccd
	hash ^= hash >> 33
	hash *= 0xc4ceb9fe1a85ec53
	return hash ^ hash>>33
}
