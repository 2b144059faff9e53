// Package keys holds the public keys that verify tokens: JSON Web Key Sets (RFC
// 7517), read strictly, and a source that keeps one of them current.
package keys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/weirproxy/weir/internal/token"
	"github.com/weirproxy/weir/stream"
)

// Set is the keys of one issuer at one time. It is never written again.
type Set struct {
	keys    []Key
	skipped int // keys of the set that nothing can be verified with
	sum     [sha256.Size]byte
}

// What a set may hold.
const (
	maxKeys = 100
	maxID   = 256
)

// ParseSet reads a set. Keys that are not for signatures, of a kind that is not
// known, or too weak are left out. An error means that the set as a whole is not
// to be used.
func ParseSet(content []byte) (*Set, error) {
	object, err := token.ReadObject(bytes.TrimSpace(content))
	if err != nil {
		return nil, errors.New("this is no JSON object, or has a name twice")
	}
	list, ok := object.Members["keys"]
	switch {
	case !ok || list.Kind != stream.ListClaim:
		return nil, errors.New(`there is no list "keys": this is no JSON Web Key Set`)
	case len(list.Items) > maxKeys:
		return nil, fmt.Errorf("%d keys, more than %d", len(list.Items), maxKeys)
	}
	s := &Set{sum: sha256.Sum256(content)}
	var why error // the last key was left out
	for i := range list.Items {
		key, err := parseKey(&list.Items[i])
		switch {
		case errors.Is(err, errPrivate):
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		case err != nil:
			why = fmt.Errorf("key %d: %w", i+1, err)
			s.skipped++
		default:
			s.keys = append(s.keys, key)
		}
	}
	switch {
	case why != nil && len(s.keys) == 0:
		return nil, fmt.Errorf("no key of the set verifies signatures: %w", why)
	case len(s.keys) == 0:
		return nil, errors.New("the set is empty")
	}
	return s, nil
}

// Len is the number of keys; of those that were left out, Skipped.
func (s *Set) Len() int { return len(s.keys) }

// Skipped is the number of keys that were left out.
func (s *Set) Skipped() int { return s.skipped }

// Same tells whether two sets have the same content.
func (s *Set) Same(other *Set) bool {
	return s == other || s != nil && other != nil && s.sum == other.sum
}

// maxTries is how many keys are tried for a token that does not say which.
const maxTries = 4

// Find is the keys that may have signed a token: those with its key id and, when
// it has none, those of its algorithm, a few of them.
func (s *Set) Find(t *token.Token) []*Key {
	var found []*Key
	for i := range s.keys {
		k := &s.keys[i]
		if k.fits(t.Algorithm) && (t.KeyID == "" || k.id == t.KeyID) && len(found) < maxTries {
			found = append(found, k)
		}
	}
	return found
}
