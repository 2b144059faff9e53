package jwt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/filters/jwt/keys"
	"github.com/weirproxy/weir/internal/token"
	"github.com/weirproxy/weir/stream"
)

// issuer is one whose tokens are taken.
type issuer struct {
	name       string
	audiences  []string // none: any
	algorithms []string
	types      []string // lower case
	source     *keys.Source
}

// verdict is what a token that is good says.
type verdict struct {
	claims *stream.Claims
	fields []stream.Field // for the upstream
	until  time.Time      // it is good, with the leeway
	set    *keys.Set      // by which it was verified
	source *keys.Source
}

// verify judges a token from the outside in: what is cheap first, the signature
// before anything that only a token of the issuer may be asked.
func (s *service) verify(ctx context.Context, text string, now time.Time) (*verdict, reason) {
	t, err := token.Read(text)
	if err != nil {
		return nil, reasonOf(err)
	}
	from, why := s.issuerOf(t)
	if why != good {
		return nil, why
	}
	set, why := s.verifySignature(ctx, from, t)
	if why != good {
		return nil, why
	}
	r, err := token.ReadRegistered(&t.Claims)
	if err != nil {
		return nil, malformed
	}
	if why := s.judgeTimes(&r, now); why != good {
		return nil, why
	}
	if len(from.audiences) > 0 && !slices.ContainsFunc(r.Audience, func(name string) bool { return slices.Contains(from.audiences, name) }) {
		return nil, badAudience
	}
	v := &verdict{
		claims: &stream.Claims{Issuer: r.Issuer, Subject: r.Subject, Expires: r.Expires, All: t.Claims},
		until:  r.Expires.Add(s.leeway), set: set, source: from.source,
	}
	v.fields = s.fieldsOf(v.claims, t.Payload)
	return v, s.judgeDemands(v.claims)
}

func reasonOf(err error) reason {
	switch {
	case errors.Is(err, token.ErrCritical):
		return critical
	case errors.Is(err, token.ErrEncrypted):
		return encrypted
	}
	return malformed
}

// issuerOf finds who says that the token is theirs, and judges its head by what
// is taken from them.
func (s *service) issuerOf(t *token.Token) (*issuer, reason) {
	iss := t.Claims.Members["iss"]
	at := slices.IndexFunc(s.issuers, func(i *issuer) bool { return iss.Kind == stream.TextClaim && iss.Quoted && i.name == iss.Text })
	if at < 0 {
		return nil, badIssuer
	}
	from := s.issuers[at]
	switch {
	case !slices.Contains(from.algorithms, t.Algorithm):
		return nil, badAlgorithm
	case !slices.Contains(from.types, t.Type):
		return nil, badType
	}
	return from, good
}

// verifySignature finds the keys that may have signed the token, and tries them.
// A key that is not known may be a new one: the set is fetched again, not too
// often.
func (s *service) verifySignature(ctx context.Context, from *issuer, t *token.Token) (*keys.Set, reason) {
	set := from.source.Current(time.Now())
	var found []*keys.Key
	if set != nil {
		found = set.Find(t)
	}
	if len(found) == 0 && from.source.Renew(ctx) {
		if set = from.source.Current(time.Now()); set != nil {
			found = set.Find(t)
		}
	}
	switch {
	case set == nil:
		return nil, noKeys
	case len(found) == 0:
		return nil, unknownKey
	}
	for _, key := range found {
		if key.Verify(t) {
			return set, good
		}
	}
	return nil, badSignature
}

func (s *service) judgeTimes(r *token.Registered, now time.Time) reason {
	issued := r.IssuedAt
	if issued.IsZero() {
		issued = now
	}
	switch {
	case r.Expires.IsZero():
		return noExpiry
	case !now.Before(r.Expires.Add(s.leeway)):
		return expired
	case now.Add(s.leeway).Before(r.NotBefore):
		return notYet
	case now.Add(s.leeway).Before(r.IssuedAt):
		return issuedInFuture
	case r.Expires.Sub(issued) > s.lifetime:
		return tooLong
	}
	return good
}

func (s *service) judgeDemands(c *stream.Claims) reason {
	for _, scope := range s.scopes {
		if !hasScope(c, scope) {
			return lacksScope
		}
	}
	for i := range s.require {
		if !s.require[i].holds(c) {
			return lacksClaim
		}
	}
	return good
}

// hasScope looks at scope (RFC 8693 section 4.2) and at scp, which others use:
// words in one text, or a list of them.
func hasScope(c *stream.Claims, scope string) bool {
	for _, name := range []string{"scope", "scp"} {
		claim := c.All.Members[name]
		if claim.Any(func(text string) bool { return slices.Contains(strings.Fields(text), scope) }) {
			return true
		}
	}
	return false
}

// demand is a claim that tokens must have.
type demand struct {
	claim  stream.ClaimName
	values []string // none: any
}

func (d *demand) holds(c *stream.Claims) bool {
	claim, ok := c.At(d.claim)
	if !ok || len(d.values) == 0 {
		return ok
	}
	return claim.Any(func(text string) bool { return slices.Contains(d.values, text) })
}
