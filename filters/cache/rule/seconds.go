package rule

import "time"

// MaxSeconds is the largest number of seconds that is believed: what is larger
// counts as this (RFC 9111 section 1.2.2). Four of them fit into a Duration.
const MaxSeconds = 1 << 31

const maxTime = MaxSeconds * time.Second

// None says that a directive is not there.
const None time.Duration = -1

// deltaSeconds reads the digits of RFC 9111 section 1.2.2. A number without end
// is MaxSeconds, and never overflows.
func deltaSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), MaxSeconds)
	}
	return time.Duration(n) * time.Second, true
}
