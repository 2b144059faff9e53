package stream

import (
	"errors"
	"strings"
	"time"
)

// Claims are what a verified token says about its bearer. They are never
// written again: all requests with the token share them.
type Claims struct {
	Issuer  string
	Subject string
	Expires time.Time
	All     Claim // the object with all of them
}

// At is the claim of that name; ok is false when the token has none, and for
// null.
func (c *Claims) At(name ClaimName) (claim Claim, ok bool) {
	at := c.All
	for _, step := range name {
		if at, ok = at.Members[step]; !ok {
			return Claim{}, false
		}
	}
	return at, at.Kind != NullClaim
}

// ClaimKind says what a claim is.
type ClaimKind uint8

// The kinds.
const (
	NullClaim   ClaimKind = iota
	TextClaim             // a string, a number or a boolean
	ListClaim             // in Items
	ObjectClaim           // in Members
)

// Claim is one value in a token.
type Claim struct {
	Kind ClaimKind
	// Text of a string (Quoted); of a number or a boolean as the token writes it.
	Text    string
	Quoted  bool
	Items   []Claim
	Members map[string]Claim
}

// Any tells whether holds is true for the text, or for one of the texts of a
// list.
func (c *Claim) Any(holds func(text string) bool) bool {
	if c.Kind == TextClaim {
		return holds(c.Text)
	}
	for i := range c.Items {
		if c.Items[i].Kind == TextClaim && holds(c.Items[i].Text) {
			return true
		}
	}
	return false
}

// ClaimName leads to a claim, a step for each object.
type ClaimName []string

// maxClaimSteps bounds how deep a name leads.
const maxClaimSteps = 8

// ParseClaimName reads a name as documents write it: that of a claim, whatever is
// in it ("sub", "https://example.com/tenant"), or, with "/" in front, one of a
// claim within objects, as a JSON pointer (RFC 6901): "/realm_access/roles".
func ParseClaimName(text string) (ClaimName, error) {
	pointer, nested := strings.CutPrefix(text, "/")
	if !nested {
		if text == "" {
			return nil, errors.New("the claim has no name; write for example sub")
		}
		return ClaimName{text}, nil
	}
	steps := strings.Split(pointer, "/")
	if len(steps) > maxClaimSteps {
		return nil, errors.New("the name of the claim leads through too many objects")
	}
	for i, step := range steps {
		if step == "" {
			return nil, errors.New("the name of the claim has an empty step; write for example /realm_access/roles")
		}
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	return steps, nil
}
