//go:build linux

package main

import (
	"math/bits"
	"time"
)

// latencies counts durations in buckets of about 3 % width.
type latencies struct {
	counts [64 * 32]int64
	total  int64
}

func (l *latencies) add(d time.Duration) {
	l.counts[bucket(uint64(d))]++
	l.total++
}

func bucket(v uint64) int {
	if v < 32 {
		return int(v)
	}
	exp := bits.Len64(v) - 6 // v>>exp is in [32, 64)
	return (exp+1)*32 + int(v>>exp) - 32
}

// quantile is the lower bound of the bucket that holds it.
func (l *latencies) quantile(q float64) time.Duration {
	rank := int64(float64(l.total) * q)
	for i, n := range l.counts {
		if rank -= n; rank < 0 {
			if i < 32 {
				return time.Duration(i)
			}
			return time.Duration(uint64(i%32+32) << (i/32 - 1))
		}
	}
	return 0
}
