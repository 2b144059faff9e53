package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time in text: 250ms, 15s, 5m, 1h30m, 1d. It is never negative.
type Duration time.Duration

// Size is a number of bytes in text: 512, 64KiB, 10MiB, 1GiB (and KB, MB, GB
// for powers of 1,000).
type Size int64

// Rate is a number of events per time in text: 100/s, 30/m, 1000/h.
type Rate struct {
	Count int           // 0 only in the zero Rate
	Per   time.Duration // a second, a minute, an hour or a day
}

// Secret is a reference to a value that must not be printed: a file or an
// environment variable. A plain string in its place is refused. All that it
// prints is the reference.
type Secret struct {
	// File is the path of a file, relative to the document.
	File string `yaml:"file" json:"file,omitempty"`
	// Env is the name of an environment variable.
	Env string `yaml:"env" json:"env,omitempty"`
}

// String is "file:PATH" or "env:NAME".
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file:" + s.File
	case s.Env != "":
		return "env:" + s.Env
	}
	return "[no secret]"
}

// textError is what UnmarshalText of a type in this package returns: what is
// wrong with the text, and what to write instead.
type textError struct{ what, fix string }

func (e *textError) Error() string { return e.what + "; " + e.fix }

const (
	durationFix = "write a number and a unit: 250ms, 15s, 5m, 1h30m"
	sizeFix     = "write a number of bytes, or one with KiB, MiB, GiB: 512, 64KiB"
	rateFix     = "write a number, a slash and a unit of time: 100/s, 30/m, 1000/h"
)

const day = 24 * time.Hour

// UnmarshalText reads 250ms, 15s, 1h30m and also 1d and 1d12h.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if _, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return &textError{quote(s) + " has no unit", "write for example " + s + "s or " + s + "ms"}
	}
	if strings.HasPrefix(s, "-") {
		return &textError{quote(s) + " is negative", durationFix}
	}
	if s == "" || s[0] == '+' {
		return &textError{quote(s) + " is not a duration", durationFix}
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return &textError{quote(s) + " is not a duration", durationFix}
	}
	total := time.Duration(n) * day
	if rest != "" {
		part, err := time.ParseDuration(rest)
		if err != nil || found && rest == "0" || part < 0 || part > math.MaxInt64-total {
			return &textError{quote(s) + " is not a duration", durationFix}
		}
		total += part
	}
	*d = Duration(total)
	return nil
}

// String is the shortest text: 15s, 1m30s, 1h.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is String, for every encoder.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// sizeUnits, the largest first: the order in which String tries them.
func sizeUnits() [7]sizeUnit {
	return [7]sizeUnit{
		{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
	}
}

type sizeUnit struct {
	name  string
	bytes int64
}

// UnmarshalText reads 512, 64KiB, 1MB.
func (s *Size) UnmarshalText(text []byte) error {
	t := string(text)
	digits := len(t) - len(strings.TrimLeft(t, "0123456789"))
	number, unit := t[:digits], strings.TrimPrefix(t[digits:], " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return &textError{quote(t) + " is too large", sizeFix}
	}
	if err != nil {
		return &textError{quote(t) + " is not a size", sizeFix}
	}
	if unit == "" {
		*s = Size(n)
		return nil
	}
	for _, u := range sizeUnits() {
		if unit != u.name {
			continue
		}
		if n > math.MaxInt64/u.bytes {
			return &textError{quote(t) + " is too large", sizeFix}
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return &textError{quote(t) + " has an unknown unit", sizeFix}
}

// String is the shortest exact text: 64KiB, 1MB, 512.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && u.bytes > 1 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String, for every encoder.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads 100/s.
func (r *Rate) UnmarshalText(text []byte) error {
	s := string(text)
	count, unit, found := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 31)
	if !found || err != nil || n == 0 {
		return &textError{quote(s) + " is not a rate", rateFix}
	}
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day}[unit]
	if !known {
		return &textError{quote(s) + " has an unknown unit of time", rateFix}
	}
	*r = Rate{Count: int(n), Per: per}
	return nil
}

// String is the text that UnmarshalText reads; "" for the zero Rate.
func (r Rate) String() string {
	unit := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h", day: "d"}[r.Per]
	if unit == "" {
		return ""
	}
	return fmt.Sprintf("%d/%s", r.Count, unit)
}

// MarshalText is String, for every encoder.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// longestQuote bounds how much of a document an error message repeats.
const longestQuote = 60

// quote is the offending text as it stands in a message.
func quote(text string) string {
	if len(text) <= longestQuote {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:longestQuote], "")) + "..."
}
