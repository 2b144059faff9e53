package route

import "slices"

// tally counts small numbers that many routes share: how many segments a
// prefix has, how many labels a wildcard, which priority a route. The largest
// number stands first.
type tally []count

type count struct{ number, times int }

func (t tally) at(number int) (int, bool) {
	return slices.BinarySearchFunc(t, number, func(c count, n int) int { return n - c.number })
}

func (t tally) has(number int) bool {
	_, found := t.at(number)
	return found
}

// max is the largest number; 0 of nothing.
func (t tally) max() int {
	if len(t) == 0 {
		return 0
	}
	return t[0].number
}

func (t *tally) add(number int) {
	i, found := t.at(number)
	if !found {
		*t = slices.Insert(*t, i, count{number: number})
	}
	(*t)[i].times++
}

func (t *tally) remove(number int) {
	i, found := t.at(number)
	if !found {
		return
	}
	if (*t)[i].times--; (*t)[i].times == 0 {
		*t = slices.Delete(*t, i, i+1)
	}
}
