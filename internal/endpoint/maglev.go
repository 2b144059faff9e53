package endpoint

import (
	"cmp"
	"slices"
	"sync"
)

// The table of a Set gives every key an endpoint by one look (Maglev, NSDI 2016,
// section 3.4). Each endpoint has an order of its own over all seats of the table
// and takes them in turns, so that shares are exact and a change of endpoints
// moves little else than the keys of those that come or go. All proxies make the
// same table of the same endpoints.

const (
	// leastSeats is the size of most tables, a prime: with up to 655 endpoints
	// each share is within one per cent.
	leastSeats = 65537
	// seatsEach is how many seats there are for an endpoint on average at least,
	// up to mostSeats.
	seatsEach = 100
	mostSeats = 5_000_000
)

// table is made when it is asked for.
type table struct {
	once  sync.Once
	seats []uint32
}

// Table makes sure that Seat is ready. It costs some milliseconds, and a tenth of
// a second with ten thousand endpoints, which whoever calls it first spares the
// requests.
func (s *Set) Table() {
	s.table.once.Do(func() {
		if len(s.picked) > 0 {
			s.table.seats = s.seat()
		}
	})
}

// Seats is the number of seats of the table.
func (s *Set) Seats() int { return len(s.table.seats) }

// Seat is the endpoint that key belongs to. The set has an endpoint, and Table
// was called.
func (s *Set) Seat(key uint64) int {
	return int(s.table.seats[key%uint64(len(s.table.seats))])
}

// preference is where an endpoint goes next in its order over the seats.
type preference struct {
	owner      uint32
	next, skip uint64
	left       uint64 // seats it still gets
}

func (s *Set) seat() []uint32 {
	size := uint64(prime(min(max(leastSeats, seatsEach*len(s.picked)), mostSeats)))
	turns := s.preferences(size)
	seats := make([]uint32, size)
	const free = ^uint32(0)
	for i := range seats {
		seats[i] = free
	}
	for taken := uint64(0); taken < size; {
		still := turns[:0]
		for _, p := range turns {
			for seats[p.next] != free {
				if p.next += p.skip; p.next >= size {
					p.next -= size
				}
			}
			seats[p.next] = p.owner
			if taken++; taken == size {
				break
			}
			if p.left--; p.left > 0 {
				still = append(still, p)
			}
		}
		turns = still
	}
	return seats
}

// preferences are in an order that does not depend on the document. The seats by
// weight are rounded up, so that all are taken in the end.
func (s *Set) preferences(size uint64) []preference {
	ids, sum := s.IDs(), uint64(0)
	for _, w := range s.weights {
		sum += uint64(w)
	}
	turns := make([]preference, len(s.picked))
	for i := range turns {
		turns[i] = preference{
			owner: uint32(i), next: mix(ids[i]) % size, skip: mix(ids[i]^0x9e3779b97f4a7c15)%(size-1) + 1,
			left: (size*uint64(s.weights[i]) + sum - 1) / sum,
		}
	}
	slices.SortFunc(turns, func(a, b preference) int { return cmp.Compare(ids[a.owner], ids[b.owner]) })
	return turns
}

// prime is the first prime that is not less than n.
func prime(n int) int {
	for ; ; n++ {
		if isPrime(n) {
			return n
		}
	}
}

func isPrime(n int) bool {
	if n%2 == 0 {
		return n == 2
	}
	for d := 3; d*d <= n; d += 2 {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}
