package requestkey

import "encoding/binary"

// Append appends one part of a combined key: its length, then its bytes. Two
// lists of parts give the same bytes only if they are the same list, whatever
// a client puts in the values. present is false for a value that the request
// does not have, which is not the same as an empty one.
func Append(dst []byte, part string, present bool) []byte {
	if !present {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(part))+1)
	return append(dst, part...)
}
