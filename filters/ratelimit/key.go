package ratelimit

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// keys are the values that make up the key of a limit together; none: all
// requests have one key.
type keys []requestkey.Key

func parseKeys(texts []string) (keys, error) {
	parts := make(keys, len(texts))
	for i, text := range texts {
		var err error
		if parts[i], err = requestkey.Parse(text); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// hash is the key of a request as the table knows it: a hash over the hashes of
// its values. These have one length, so that values never run together.
func (l *limit) hash(req *stream.Request) uint64 {
	if len(l.keys) == 1 {
		return l.part(l.keys[0], req)
	}
	var room [8 * maxKeys]byte
	joined := room[:0]
	for _, k := range l.keys {
		joined = binary.NativeEndian.AppendUint64(joined, l.part(k, req))
	}
	return maphash.Bytes(l.state.seed, joined)
}

// longestText is that of an address.
const longestText = 64

// absent is the hash of a value that a request does not have: it is not that of
// an empty one.
const absent = 0

func (l *limit) part(k requestkey.Key, req *stream.Request) uint64 {
	if k.IsClient() {
		var room [longestText]byte
		if value, ok := k.AppendTo(room[:0], req); ok {
			return maphash.Bytes(l.state.seed, value)
		}
		return absent
	}
	if value, ok := k.Of(req); ok {
		return maphash.String(l.state.seed, value)
	}
	return absent
}

// hashOf is the key of these values; nil is one that a request does not have.
func (l *limit) hashOf(values []*string) uint64 {
	var joined []byte
	for _, value := range values {
		part := uint64(absent)
		if value != nil {
			part = maphash.String(l.state.seed, *value)
		}
		if len(values) == 1 {
			return part
		}
		joined = binary.NativeEndian.AppendUint64(joined, part)
	}
	return maphash.Bytes(l.state.seed, joined)
}
