package stream

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The classes of a byte of a decoded path.
const (
	pathRefused uint8 = iota // controls, space, "\", "?", "#"
	pathPlain                // stands for itself: unreserved, sub-delims, ":", "@"
	pathEncoded              // is percent-encoded, raw or not
	pathHigh                 // part of a UTF-8 sequence
	pathSlash
	pathPercent
)

var pathClass = func() (class [256]uint8) {
	for c := range class {
		switch {
		case c >= utf8.RuneSelf:
			class[c] = pathHigh
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			class[c] = pathPlain
		}
	}
	for _, c := range []byte("-._~" + "!$&'()*+,;=" + ":@") {
		class[c] = pathPlain
	}
	for _, c := range []byte("\"<>[]^`{|}") {
		class[c] = pathEncoded
	}
	class['/'], class['%'] = pathSlash, pathPercent
	return class
}()

// CanonicalPath is the one form of a path (see [Target]): requests and
// documents go through it, so that everything behind compares strings.
//
// Dot segments, plain or encoded, are resolved and "//" is merged. Refused is
// what stages and upstreams are known to read differently: encoded slashes,
// backslashes in any form, controls, bytes that are not UTF-8 once decoded
// (overlong forms among them), broken percent-encoding, ".." above the root
// and dot segments with parameters ("/..;x/").
//
// The cost is linear in len(raw). A path that is canonical already is returned
// as it is.
func CanonicalPath(raw string) (string, error) {
	if raw == "" || raw[0] != '/' {
		return "", errors.New(`path does not start with "/"`)
	}
	if isCanonicalPath(raw) {
		return raw, nil
	}
	w := pathWriter{out: make([]byte, 0, len(raw)+16)}
	if err := w.write(raw); err != nil {
		return "", err
	}
	return string(w.out), nil
}

// isCanonicalPath tells whether nothing needs a change. It may be wrong only
// in saying no.
func isCanonicalPath(raw string) bool {
	for i := 0; i < len(raw); {
		switch pathClass[raw[i]] {
		case pathPlain:
			i++
		case pathSlash:
			i++
			if i < len(raw) && (raw[i] == '/' || raw[i] == '.' && startsDotSegment(raw[i:])) {
				return false
			}
		case pathPercent:
			n := canonicalEscape(raw[i:])
			if n == 0 {
				return false
			}
			i += n
		default:
			return false
		}
	}
	return true
}

// startsDotSegment tells whether the first segment of s is "." or "..", or one
// of them with parameters.
func startsDotSegment(s string) bool {
	n := 1
	if len(s) > 1 && s[1] == '.' {
		n = 2
	}
	return s[0] == '.' && (len(s) == n || s[n] == '/' || s[n] == ';')
}

// canonicalEscape is the length of the escape, or escapes of one character, at
// the start of s, when it is needed and in upper case; 0 otherwise.
func canonicalEscape(s string) int {
	c, ok := unescape(s)
	if !ok || isLowerHex(s[1]) || isLowerHex(s[2]) {
		return 0
	}
	switch pathClass[c] {
	case pathEncoded, pathPercent:
		return 3
	case pathHigh:
		var r [utf8.UTFMax]byte
		n := 0
		for n < len(r) && !utf8.FullRune(r[:n]) {
			b, ok := unescape(s[3*n:])
			if !ok || isLowerHex(s[3*n+1]) || isLowerHex(s[3*n+2]) {
				return 0
			}
			r[n] = b
			n++
		}
		if c, size := utf8.DecodeRune(r[:n]); c == utf8.RuneError && size <= 1 {
			return 0
		}
		return 3 * n
	case pathRefused:
		if c == ' ' || c == '?' || c == '#' { // refused raw, needed encoded
			return 3
		}
	}
	return 0
}

// unescape decodes the "%XX" at the start of s.
func unescape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := unhex[s[1]], unhex[s[2]]
	return hi<<4 | lo, hi|lo < 16
}

// unhex has the value of a hexadecimal digit, 255 for other bytes.
var unhex = func() (value [256]byte) {
	for c := range value {
		switch {
		case '0' <= c && c <= '9':
			value[c] = byte(c - '0')
		case 'a' <= c && c <= 'f':
			value[c] = byte(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			value[c] = byte(c - 'A' + 10)
		default:
			value[c] = 255
		}
	}
	return value
}()

func isLowerHex(c byte) bool { return 'a' <= c && c <= 'f' }

// pathWriter writes a canonical path segment by segment.
type pathWriter struct {
	out     []byte // starts with "/"; all segments before the last are final
	segment int    // where the last segment starts in out
	work    int    // bytes read, and bytes looked at again: what the test of the cost bounds
}

// write takes a path that starts with "/".
func (w *pathWriter) write(raw string) error {
	w.out, w.segment = append(w.out, '/'), 1
	for i := 1; i < len(raw); {
		if raw[i] == '/' {
			if err := w.endSegment(false); err != nil {
				return err
			}
			i++
			w.work++
			continue
		}
		n, err := w.character(raw[i:])
		if err != nil {
			return fmt.Errorf("path, byte %d: %w", i+1, err)
		}
		i += n
		w.work += n
	}
	return w.endSegment(true)
}

// The refusals, which name no byte of the peer: they go to logs.
var (
	errEscape    = errors.New("broken percent-encoding")
	errSlash     = errors.New("an encoded slash, which is read in two ways")
	errBackslash = errors.New("a backslash, which is read in two ways")
	errControl   = errors.New("a control character")
	errDelimiter = errors.New(`a byte that cannot stand in a path unencoded (space, "?" or "#")`)
	errUTF8      = errors.New("bytes that are not UTF-8 once decoded")
	errAboveRoot = errors.New(`path has ".." above the root`)
	errDotParam  = errors.New("path has a dot segment with parameters, which is read in two ways")
)

// character writes the character at the start of s, which is not a slash, and
// returns how many bytes of s it took.
func (w *pathWriter) character(s string) (int, error) {
	c, n, err := octet(s)
	if err != nil {
		return 0, err
	}
	switch pathClass[c] {
	case pathPlain:
		w.out = append(w.out, c)
	case pathEncoded, pathPercent:
		w.escape(c)
	case pathHigh:
		return w.sequence(s)
	case pathSlash:
		return 0, errSlash
	default:
		if err := refusal(c, n > 1); err != nil {
			return 0, err
		}
		w.escape(c)
	}
	return n, nil
}

func refusal(c byte, encoded bool) error {
	switch {
	case c == '\\':
		return errBackslash
	case c < ' ' || c == 0x7f:
		return errControl
	case encoded: // space, "?", "#"
		return nil
	}
	return errDelimiter
}

// sequence writes one UTF-8 sequence, whose bytes stand raw or encoded in s.
func (w *pathWriter) sequence(s string) (int, error) {
	var r [utf8.UTFMax]byte
	n, read := 0, 0
	for n < len(r) && !utf8.FullRune(r[:n]) {
		if read == len(s) {
			return 0, errUTF8
		}
		c, size, err := octet(s[read:])
		if err != nil {
			return 0, err
		}
		r[n] = c
		n, read = n+1, read+size
	}
	if c, size := utf8.DecodeRune(r[:n]); c == utf8.RuneError && size <= 1 {
		return 0, errUTF8
	}
	for _, c := range r[:n] {
		w.escape(c)
	}
	return read, nil
}

// octet is the byte that the start of s stands for, and how long that is.
func octet(s string) (c byte, n int, err error) {
	if s[0] != '%' {
		return s[0], 1, nil
	}
	c, ok := unescape(s)
	if !ok {
		return 0, 0, errEscape
	}
	return c, 3, nil
}

func (w *pathWriter) escape(c byte) {
	const hex = "0123456789ABCDEF"
	w.out = append(w.out, '%', hex[c>>4], hex[c&15])
}

// endSegment makes the last segment final, or takes it and what it undoes
// back. Dots are plain bytes, so encoded dot segments look like raw ones here.
// Every byte is taken back at most once: the cost stays linear.
func (w *pathWriter) endSegment(last bool) error {
	s := w.out[w.segment:]
	switch {
	case len(s) == 0 || len(s) == 1 && s[0] == '.':
		w.out = w.out[:w.segment]
	case len(s) == 2 && s[0] == '.' && s[1] == '.':
		if w.segment == 1 {
			return errAboveRoot
		}
		parent := bytes.LastIndexByte(w.out[:w.segment-1], '/') + 1
		w.work += w.segment - parent
		w.out, w.segment = w.out[:parent], parent
	case bytes.HasPrefix(s, []byte(".;")), bytes.HasPrefix(s, []byte("..;")):
		return errDotParam
	case !last:
		w.out = append(w.out, '/')
		w.segment = len(w.out)
	}
	return nil
}
