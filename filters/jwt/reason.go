package jwt

import (
	"strings"

	"github.com/weirproxy/weir/stream"
)

// reason says what became of a request: the label in metrics.
type reason uint8

const (
	good reason = iota
	anonymous
	missing
	repeated
	tooLarge
	malformed
	encrypted
	critical
	badType
	badIssuer
	badAlgorithm
	unknownKey
	badSignature
	noExpiry
	expired
	notYet
	issuedInFuture
	tooLong
	badAudience
	lacksScope
	lacksClaim
	noKeys
	numReasons
)

// reasons have the word, and what a client is told: fixed sentences, in which
// nothing stands that it has sent.
var reasons = [numReasons]struct{ word, text string }{
	good:           {"verified", ""},
	anonymous:      {"anonymous", ""},
	missing:        {"missing", ""},
	repeated:       {"repeated", "there is more than one token"},
	tooLarge:       {"too_large", "the token is too large"},
	malformed:      {"malformed", "the token is not a signed JWT"},
	encrypted:      {"encrypted", "the token is encrypted"},
	critical:       {"critical", "the token demands an extension"},
	badType:        {"type", "the token is of another type"},
	badIssuer:      {"issuer", "the issuer of the token is not trusted"},
	badAlgorithm:   {"algorithm", "the algorithm of the token is not taken"},
	unknownKey:     {"unknown_key", "the key of the token is not known"},
	badSignature:   {"signature", "the signature of the token is wrong"},
	noExpiry:       {"no_expiry", "the token does not expire"},
	expired:        {"expired", "the token has expired"},
	notYet:         {"not_yet", "the token is not good yet"},
	issuedInFuture: {"issued_in_future", "the token was issued in the future"},
	tooLong:        {"lifetime", "the token is good for too long"},
	badAudience:    {"audience", "the token is for another audience"},
	lacksScope:     {"scope", "the token lacks a scope"},
	lacksClaim:     {"claim", "the token lacks a claim"},
	noKeys:         {"no_keys", ""},
}

// fault is the answer to a request that is refused, with the challenge of RFC
// 6750 section 3.
func (s *service) fault(why reason) *stream.Fault {
	kind, challenge := stream.Unauthenticated, `Bearer realm="`+s.realm+`"`
	code := "invalid_token"
	switch why {
	case noKeys: // it is not known whether the token is good
		return &stream.Fault{Kind: stream.Unverifiable, RetryAfter: retryAfter}
	case missing:
		code = ""
	case repeated:
		kind, code = stream.RequestMalformed, "invalid_request"
	case lacksScope, lacksClaim:
		kind, code = stream.Forbidden, "insufficient_scope"
	}
	if code != "" {
		challenge += `, error="` + code + `", error_description="` + reasons[why].text + `"`
	}
	if why == lacksScope {
		challenge += `, scope="` + strings.Join(s.scopes, " ") + `"`
	}
	f := &stream.Fault{Kind: kind, Cause: refusal(why), Header: new(stream.Header)}
	f.Header.AddID(stream.WWWAuthenticate, challenge)
	return f
}

// refusal is the cause of a fault, for the log: one of the fixed words.
type refusal reason

func (r refusal) Error() string { return "jwt: " + reasons[r].word }
