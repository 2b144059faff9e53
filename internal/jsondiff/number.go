package jsondiff

import (
	"strconv"
	"strings"
)

// canonicalNumber is a JSON number as digits and an exponent: two numbers have
// the same value if and only if they have the same text. No arithmetic is done
// on the digits, so that a long number costs what reading it costs
// (CVE-2025-11230 is a number that cost more).
func canonicalNumber(n string) string {
	mantissa, exponent := n, int64(0)
	if at := strings.IndexAny(n, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.ParseInt(n[at+1:], 10, 32); err != nil {
			mantissa = n[:at]
			if strings.Trim(mantissa, "-0.") == "" {
				return "0"
			}
			return n // beyond what anybody calculates with: equal when written equally
		}
		mantissa = n[:at]
	}
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent -= int64(len(fraction))
	if digits == "" {
		return "0" // and -0
	}
	trimmed := strings.TrimRight(digits, "0")
	exponent += int64(len(digits) - len(trimmed))
	return sign + trimmed + "e" + strconv.FormatInt(exponent, 10)
}
