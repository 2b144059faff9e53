package health

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode"
)

// longestText bounds what of an endpoint's own words stands in a reason.
const longestText = 200

// printable is what a peer said, safe for logs and pages.
func printable(text string) string {
	if len(text) > longestText {
		text = text[:longestText]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
}

// trimLine is the content of a file without the end of its only line.
func trimLine(content []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
}

// notAnswered says in words that the connection ended.
func notAnswered(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed without an answer")
	}
	return err
}
