package requestkey

import "github.com/weirproxy/weir/stream"

// longest is the largest value that Hash reads without allocating.
const longest = 64

// Hash is the value in req as a number, the same in every process, and never
// 0; ok is false when req has no value.
func (k Key) Hash(req *stream.Request) (hash uint64, ok bool) {
	if k.source != client {
		value, ok := k.Of(req)
		if !ok {
			return 0, false
		}
		return hashOf(value), true
	}
	var room [longest]byte
	value, ok := k.AppendTo(room[:0], req)
	if !ok {
		return 0, false
	}
	return hashOf(value), true
}

// hashOf is FNV-1a with the finaliser of SplitMix64 behind it, because short
// values differ in few bits of FNV.
func hashOf[T string | []byte](value T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return max(h^h>>31, 1)
}
