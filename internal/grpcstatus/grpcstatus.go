// Package grpcstatus knows the status codes of gRPC: their names, the words by
// which documents choose them, and what a message in a header looks like. The
// check of documents and the stages that act on them share it, so that what is
// accepted is what is done.
package grpcstatus

import "strconv"

// The codes (gRPC "Status codes and their use in gRPC").
const (
	OK uint8 = iota
	Cancelled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated

	NumCodes
)

// Prefix stands in front of a code in a list that has other words, too
// (retry.on of a route).
const Prefix = "grpc:"

var names = [NumCodes]struct{ name, word string }{
	OK:                 {"OK", "ok"},
	Cancelled:          {"CANCELLED", "cancelled"},
	Unknown:            {"UNKNOWN", "unknown"},
	InvalidArgument:    {"INVALID_ARGUMENT", "invalid-argument"},
	DeadlineExceeded:   {"DEADLINE_EXCEEDED", "deadline-exceeded"},
	NotFound:           {"NOT_FOUND", "not-found"},
	AlreadyExists:      {"ALREADY_EXISTS", "already-exists"},
	PermissionDenied:   {"PERMISSION_DENIED", "permission-denied"},
	ResourceExhausted:  {"RESOURCE_EXHAUSTED", "resource-exhausted"},
	FailedPrecondition: {"FAILED_PRECONDITION", "failed-precondition"},
	Aborted:            {"ABORTED", "aborted"},
	OutOfRange:         {"OUT_OF_RANGE", "out-of-range"},
	Unimplemented:      {"UNIMPLEMENTED", "unimplemented"},
	Internal:           {"INTERNAL", "internal"},
	Unavailable:        {"UNAVAILABLE", "unavailable"},
	DataLoss:           {"DATA_LOSS", "data-loss"},
	Unauthenticated:    {"UNAUTHENTICATED", "unauthenticated"},
}

// decimals are the codes as they stand in a header.
var decimals = func() (text [256]string) {
	for code := range text {
		text[code] = strconv.Itoa(code)
	}
	return text
}()

// Name is the name of a code ("UNAVAILABLE"), or its number when it has none.
func Name(code uint8) string {
	if code < NumCodes {
		return names[code].name
	}
	return decimals[code]
}

// Decimal is the code as it stands in a header.
func Decimal(code uint8) string { return decimals[code] }

// Parse reads a word of a document, "grpc:unavailable" or "grpc:14", as the
// code of an error. OK is none.
func Parse(word string) (code uint8, ok bool) {
	if len(word) <= len(Prefix) || word[:len(Prefix)] != Prefix {
		return 0, false
	}
	word = word[len(Prefix):]
	for code = OK + 1; code < NumCodes; code++ {
		if word == names[code].word || word == decimals[code] {
			return code, true
		}
	}
	return 0, false
}

// Words are the words that Parse takes, names only, for messages and
// completions.
func Words() []string {
	words := make([]string, 0, NumCodes)
	for code := OK + 1; code < NumCodes; code++ {
		words = append(words, Prefix+names[code].word)
	}
	return words
}

// Set is a set of codes below 32. The zero value is empty.
type Set uint32

// Add adds the code of a word that Parse takes, and tells whether it does.
func (s *Set) Add(word string) bool {
	code, ok := Parse(word)
	if ok {
		*s |= 1 << code
	}
	return ok
}

// Has tells whether code is in the set.
func (s Set) Has(code uint8) bool { return code < 32 && s&(1<<code) != 0 }

// IsFailure tells whether a code says that the service failed, as 5xx does, and
// not that it would not do what it was asked for.
func IsFailure(code uint8) bool {
	switch code {
	case Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable, DataLoss:
		return true
	}
	return false
}

// AppendMessage appends text as the value of a grpc-message field: bytes
// outside of printable ASCII, and "%", are percent-encoded (gRPC over HTTP/2,
// "Responses").
func AppendMessage(dst []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
