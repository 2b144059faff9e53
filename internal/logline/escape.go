package logline

import (
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand for themselves in both formats: printable
// ASCII without the quote, the backslash and the angle brackets (a log viewer
// may be a web page).
var plain = func() (table [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		table[c] = c != '"' && c != '\\' && c != '<' && c != '>'
	}
	return table
}()

// text is what is escaped.
type text interface{ ~string | ~[]byte }

// AppendJSON appends s as the inside of a JSON string. What is not a printable
// character is escaped; bytes that are not UTF-8 become U+FFFD.
func AppendJSON[S text](dst []byte, s S) []byte {
	for i := plainWords(s); i < len(s); i++ {
		if !plain[s[i]] {
			return appendJSONSlow(dst, s, i)
		}
	}
	return append(dst, s...)
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainWords is how many bytes at the beginning of s are plain, counted in words
// of eight: usually all but the last few.
func plainWords[S text](s S) int {
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		angle := w | 2*ones // < and > differ in that bit
		odd := w | (w - ' '*ones) | zeroBytes(w^'"'*ones) | zeroBytes(w^'\\'*ones) | zeroBytes(angle^'>'*ones) | zeroBytes(w^0x7f*ones)
		if odd&highs != 0 {
			break
		}
	}
	return i
}

// zeroBytes has the high bit of a byte set if a byte of w is zero; those above one
// may be wrong.
func zeroBytes(w uint64) uint64 { return (w - ones) &^ w }

func appendJSONSlow[S text](dst []byte, s S, from int) []byte {
	dst = append(dst, s[:from]...)
	for i := from; i < len(s); {
		c := s[i]
		if plain[c] {
			dst = append(dst, c)
			i++
			continue
		}
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
			i++
			continue
		}
		var next [utf8.UTFMax]byte
		r, size := utf8.DecodeRune(next[:copy(next[:], s[i:])])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case r >= 0x80 && unicode.IsPrint(r):
			dst = append(dst, s[i:i+size]...)
		case r > 0xffff:
			r -= 0x10000
			dst = appendUnicode(dst, 0xd800|r>>10)
			dst = appendUnicode(dst, 0xdc00|r&0x3ff)
		default:
			dst = appendUnicode(dst, r)
		}
		i += size
	}
	return dst
}

func appendUnicode(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// AppendText appends s for a text line: what is not plain ASCII becomes \xNN,
// as in nginx, so that neither quotes nor lines nor terminals break.
func AppendText[S text](dst []byte, s S) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}
