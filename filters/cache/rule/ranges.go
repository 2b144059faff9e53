package rule

import "strings"

// Part is a part of content: [Start, End).
type Part struct{ Start, End int64 }

// Wanted is what a Range field asks for.
type Wanted uint8

// The answers.
const (
	All         Wanted = iota // no range, one that is not understood, or several
	OnePart                   // 206
	Unsatisfied               // 416
)

// RangeOf reads a Range field against content of that length (RFC 9110 section
// 14.1.2). Several ranges are answered with all of it, which section 14.2
// allows: multipart answers are an old way to make servers work.
func RangeOf(field string, length int64) (Part, Wanted) {
	unit, set, found := strings.Cut(field, "=")
	if !found || !strings.EqualFold(trim(unit), "bytes") || strings.IndexByte(set, ',') >= 0 {
		return Part{}, All
	}
	first, last, found := strings.Cut(trim(set), "-")
	if !found {
		return Part{}, All
	}
	if first == "" {
		return suffix(last, length)
	}
	start, ok := position(first)
	if !ok {
		return Part{}, All
	}
	end := length
	if last != "" {
		until, ok := position(last)
		if !ok || until < start {
			return Part{}, All
		}
		end = min(until+1, length)
	}
	if start >= length {
		return Part{}, Unsatisfied
	}
	return Part{start, end}, OnePart
}

func suffix(last string, length int64) (Part, Wanted) {
	n, ok := position(last)
	switch {
	case !ok:
		return Part{}, All
	case n == 0, length == 0:
		return Part{}, Unsatisfied
	}
	return Part{max(length-n, 0), length}, OnePart
}

// maxPosition is beyond all content; ten times it still fits.
const maxPosition = 1 << 56

func position(digits string) (int64, bool) {
	if digits == "" {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(digits[i]-'0'), maxPosition)
	}
	return n, true
}
