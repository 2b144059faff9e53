package http2

import (
	"errors"

	"github.com/weirproxy/weir/stream"
)

var (
	errTrailerPseudo = errors.New("a pseudo-header field in a trailer section")
	errTrailerEnd    = errors.New("a trailer section that does not end its stream")
	errTrailerField  = errors.New("a trailer field that frames or routes")
)

// readTrailer takes the fields of a trailer section into header. An error makes
// the message malformed. For the author of either half: kept is false when
// nothing of it may pass, and there is no trailer then.
func readTrailer(fields []headField, header *stream.Header) (kept bool, err error) {
	for i := range fields {
		f := &fields[i]
		keep := false
		switch {
		case f.pseudo != notPseudo:
			err = errTrailerPseudo
		case !f.sound:
			err = errField
		default:
			keep, err = trailerAllowed(f.name)
		}
		if err != nil {
			return false, err
		}
		if keep {
			header.Append(stream.Field{Name: f.name, Value: f.value, ID: f.id})
			kept = true
		}
	}
	return kept, nil
}

// trailerAllowed tells whether a trailer field is kept, in either direction, in
// whatever spelling an upstream would fold it. Fields that frame or route are
// an attack. Other well-known fields, and those that say who a client is, are
// dropped: whoever merges trailers into the head would let them stand for
// checked ones. The rest goes through.
func trailerAllowed(name string) (keep bool, err error) {
	var canonical [32]byte // no well-known name is longer
	if len(name) <= len(canonical) {
		for i := 0; i < len(name); i++ {
			canonical[i] = foldName(name[i])
		}
		switch id := stream.Lookup(string(canonical[:len(name)])); {
		case ownedField[id]:
			return false, errTrailerField
		case id == stream.ETag || id == stream.ServerTiming:
			return true, nil
		case id != stream.Unknown:
			return false, nil
		}
	}
	identity := stream.Owned(name) || hasPrefix(name, "content-") || hasPrefix(name, "sec-") || hasPrefix(name, "proxy-")
	return !identity, nil
}

// hasPrefix tells whether name begins with prefix; "_" counts as "-".
func hasPrefix(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if foldName(name[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func foldName(c byte) byte {
	if c == '_' {
		return '-'
	}
	return c
}
