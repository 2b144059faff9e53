package stream

import "strings"

// GRPC says what kind of gRPC call a request is.
type GRPC uint8

// The kinds.
const (
	NotGRPC     GRPC = iota
	GRPCCall         // application/grpc, application/grpc+proto, ...
	GRPCWeb          // application/grpc-web
	GRPCWebText      // application/grpc-web-text, base64
)

// GRPCOf is the kind of a request with this method and header.
func GRPCOf(method string, h *Header) GRPC {
	if method != "POST" {
		return NotGRPC
	}
	contentType, _ := h.GetID(ContentType)
	const prefix = "application/grpc"
	if len(contentType) < len(prefix) || !EqualFold(contentType[:len(prefix)], prefix) {
		return NotGRPC
	}
	rest := contentType[len(prefix):]
	switch {
	case rest == "", rest[0] == '+', rest[0] == ';':
		return GRPCCall
	case hasWord(rest, "-web-text"):
		return GRPCWebText
	case hasWord(rest, "-web"):
		return GRPCWeb
	}
	return NotGRPC
}

// hasWord tells whether s is word, perhaps with a suffix or parameters.
func hasWord(s, word string) bool {
	if len(s) < len(word) || !EqualFold(s[:len(word)], word) {
		return false
	}
	return len(s) == len(word) || s[len(word)] == '+' || s[len(word)] == ';'
}

// GRPCStatus reads the grpc-status of a trailer, or of a header that is all
// there is (gRPC over HTTP/2, "Trailers-Only"). ok is false when there is none
// or it is no number from 0 to 254.
func GRPCStatus(h *Header) (code uint8, ok bool) {
	if h == nil {
		return 0, false
	}
	value, found := h.Get("grpc-status")
	value = strings.TrimSpace(value)
	if !found || value == "" || len(value) > 3 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(value); i++ {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n = n*10 + int(value[i]-'0')
	}
	if n > 254 {
		return 0, false
	}
	return uint8(n), true
}

// SetGRPCStatus notes the status that h holds, if it holds one.
func (x *Exchange) SetGRPCStatus(h *Header) {
	if code, ok := GRPCStatus(h); ok {
		x.GRPCStatus = code + 1
	}
}
