package requestkey

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/weirproxy/weir/stream"
)

// Tuple are the values that make up one key together; none: all requests have
// one key.
type Tuple []Key

// MaxTuple is how many values a Tuple has at most: each costs time in every
// request.
const MaxTuple = 8

// ParseTuple reads the keys as the document writes them.
func ParseTuple(texts []string) (Tuple, error) {
	if len(texts) > MaxTuple {
		return nil, fmt.Errorf("%d values make up the key, more than %d", len(texts), MaxTuple)
	}
	t := make(Tuple, len(texts))
	for i, text := range texts {
		var err error
		if t[i], err = Parse(text); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// absent is the hash of a value that a request does not have: it is not that of
// an empty one.
const absent = 0

// Sum is a hash of the values in req, which nobody can foresee who does not know
// the seed. It is one over the hashes of the values: these have one length, so
// that values never run together.
func (t Tuple) Sum(seed maphash.Seed, req *stream.Request) uint64 {
	if len(t) == 1 {
		return t[0].sum(seed, req)
	}
	var room [8 * MaxTuple]byte
	joined := room[:0]
	for _, k := range t {
		joined = binary.NativeEndian.AppendUint64(joined, k.sum(seed, req))
	}
	return maphash.Bytes(seed, joined)
}

func (k Key) sum(seed maphash.Seed, req *stream.Request) uint64 {
	if k.source == client {
		var room [longest]byte
		if value, ok := k.AppendTo(room[:0], req); ok {
			return maphash.Bytes(seed, value)
		}
		return absent
	}
	if value, ok := k.Of(req); ok {
		return maphash.String(seed, value)
	}
	return absent
}

// SumOf is the hash of these values; nil is one that a request does not have.
func SumOf(seed maphash.Seed, values []*string) uint64 {
	var joined []byte
	for _, value := range values {
		part := uint64(absent)
		if value != nil {
			part = maphash.String(seed, *value)
		}
		if len(values) == 1 {
			return part
		}
		joined = binary.NativeEndian.AppendUint64(joined, part)
	}
	return maphash.Bytes(seed, joined)
}

// AppendParts appends the values in req to dst, each with its length (Append).
func (t Tuple) AppendParts(dst []byte, req *stream.Request) []byte {
	for _, k := range t {
		value, ok := k.Of(req)
		dst = Append(dst, value, ok)
	}
	return dst
}
