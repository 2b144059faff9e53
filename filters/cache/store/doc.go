// Package store keeps what the filter cache remembers: in memory within a
// budget of bytes, and on a disk within another. It knows keys, labels (by
// which entries are purged) and sizes; what an entry is, is the filter's.
//
// The library that chooses what to evict comes in here only.
package store
