package logline

import (
	"strconv"
	"time"
)

// Clock writes times. It keeps the text of the last second, so that most lines
// cost three digits. Not safe for concurrent use; the zero Clock is ready.
type Clock struct {
	second int64
	text   [len("2006-01-02T15:04:05.")]byte
	valid  bool
}

// Append appends t in RFC 3339 form, UTC, with milliseconds.
func (c *Clock) Append(dst []byte, t time.Time) []byte {
	if second := t.Unix(); !c.valid || second != c.second {
		c.second, c.valid = second, true
		text := t.UTC().AppendFormat(c.text[:0], "2006-01-02T15:04:05.")
		c.valid = len(text) == len(c.text) // not so for a year of five digits
		if !c.valid {
			return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		}
	}
	ms := t.Nanosecond() / 1e6
	dst = append(dst, c.text[:]...)
	return append(dst, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// AppendMillis appends d in milliseconds with three decimals.
func AppendMillis(dst []byte, d time.Duration) []byte {
	micros := uint64(max(d, 0).Microseconds())
	dst = strconv.AppendUint(dst, micros/1000, 10)
	rest := micros % 1000
	return append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}
