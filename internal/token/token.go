// Package token reads JSON Web Tokens in their compact form (RFC 7519), before
// anybody has verified them: strictly, within bounds, and so that one text has
// one meaning. It knows no key and no clock.
package token

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// Token is a token that was read. Nothing in it is to be believed before its
// signature was verified.
type Token struct {
	Text      string // as it came
	Algorithm string
	KeyID     string // "" when the token names none
	Type      string // in lower case and without "application/"; "" when the token says none
	Payload   []byte // JSON
	Claims    stream.Claim
}

// What is wrong with a token.
var (
	ErrMalformed = errors.New("the token is not a signed JWT in compact form, or can be read in more than one way")
	ErrEncrypted = errors.New("the token is encrypted, which is not taken")
	ErrCritical  = errors.New("the token demands an extension that is not understood")
)

// maxWord bounds the members of the header that are looked at.
const maxWord = 256

// Read reads a token. Its length is bounded by the caller.
func Read(text string) (*Token, error) {
	header, payload, err := split(text)
	if err != nil {
		return nil, err
	}
	t := &Token{Text: text}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	if t.Payload, err = decode(payload); err != nil {
		return nil, err
	}
	t.Claims, err = ReadObject(t.Payload)
	return t, err
}

// split takes the three parts apart (RFC 7515 section 3.1). A token in five parts
// is encrypted: to decrypt it costs work for everybody who asks.
func split(text string) (header, payload string, err error) {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default: // the decoder would pass over line ends
			return "", "", ErrMalformed
		}
	}
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	switch {
	case strings.Count(signature, ".") == 2:
		return "", "", ErrEncrypted
	case header == "" || payload == "" || signature == "" || strings.Contains(signature, "."):
		return "", "", ErrMalformed
	}
	return header, payload, nil
}

// strict refuses bits behind the last byte, so that no two texts mean the same.
var strict = base64.RawURLEncoding.Strict()

func decode(part string) ([]byte, error) {
	content, err := strict.DecodeString(part)
	if err != nil {
		return nil, ErrMalformed
	}
	return content, nil
}

// readHeader reads what a JWS header (RFC 7515 section 4.1) says about how to
// verify it. Keys, and places of keys, that a token brings with it (jwk, jku,
// x5c, x5u) are never looked at (RFC 8725 section 3.10).
func (t *Token) readHeader(part string) error {
	content, err := decode(part)
	if err != nil {
		return err
	}
	header, err := ReadObject(content)
	if err != nil {
		return err
	}
	if _, named := header.Members["crit"]; named { // no extension is understood
		return ErrCritical
	}
	if _, named := header.Members["b64"]; named { // the signature would be over something else (RFC 7797)
		return ErrCritical
	}
	for _, word := range []struct {
		name string
		to   *string
	}{{"alg", &t.Algorithm}, {"kid", &t.KeyID}, {"typ", &t.Type}} {
		value, named := header.Members[word.name]
		if named && (value.Kind != stream.TextClaim || !value.Quoted || len(value.Text) > maxWord) {
			return ErrMalformed
		}
		*word.to = value.Text
	}
	if t.Algorithm == "" {
		return ErrMalformed
	}
	t.Type = strings.TrimPrefix(strings.ToLower(t.Type), "application/") // RFC 7515 section 4.1.9
	return nil
}
