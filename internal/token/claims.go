package token

import (
	"math"
	"strconv"
	"time"

	"github.com/weirproxy/weir/stream"
)

// Registered are the claims of RFC 7519 section 4.1 that say whether a token is
// good.
type Registered struct {
	Issuer, Subject string
	Audience        []string
	Expires         time.Time // the zero time: it does not say
	NotBefore       time.Time
	IssuedAt        time.Time
}

// ReadRegistered reads them; one of another type than the RFC says is no claim
// to be passed over, but makes the token malformed.
func ReadRegistered(claims *stream.Claim) (r Registered, err error) {
	for _, text := range []struct {
		name string
		to   *string
	}{{"iss", &r.Issuer}, {"sub", &r.Subject}} {
		value, named := claims.Members[text.name]
		if named && !isString(&value) {
			return r, ErrMalformed
		}
		*text.to = value.Text
	}
	for _, date := range []struct {
		name string
		to   *time.Time
	}{{"exp", &r.Expires}, {"nbf", &r.NotBefore}, {"iat", &r.IssuedAt}} {
		if value, named := claims.Members[date.name]; named {
			if *date.to, err = numericDate(&value); err != nil {
				return r, err
			}
		}
	}
	r.Audience, err = audience(claims)
	return r, err
}

func isString(c *stream.Claim) bool { return c.Kind == stream.TextClaim && c.Quoted }

// audience is a string or a list of strings.
func audience(claims *stream.Claim) ([]string, error) {
	value, named := claims.Members["aud"]
	switch {
	case !named:
		return nil, nil
	case isString(&value):
		return []string{value.Text}, nil
	case value.Kind != stream.ListClaim:
		return nil, ErrMalformed
	}
	var list []string
	for i := range value.Items {
		if !isString(&value.Items[i]) {
			return nil, ErrMalformed
		}
		list = append(list, value.Items[i].Text)
	}
	return list, nil
}

// latest is the last second of the year 9999. Nothing is good for longer, and
// sums of times stay within their range.
const latest = 253402300799

// numericDate reads seconds since 1970, with or without a fraction, which is
// dropped. 0 and less is no date of a token.
func numericDate(c *stream.Claim) (time.Time, error) {
	if c.Kind != stream.TextClaim || c.Quoted {
		return time.Time{}, ErrMalformed
	}
	seconds, err := strconv.ParseFloat(c.Text, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 1 || seconds > latest {
		return time.Time{}, ErrMalformed
	}
	return time.Unix(int64(seconds), 0), nil
}
