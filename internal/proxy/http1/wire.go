package http1

import (
	"errors"
	"strconv"
	"time"

	"github.com/weirproxy/weir/stream"
)

// What must not leave us, whoever put it into a message.
var (
	errWriteField  = errors.New("a header field that is to be written has a name that is no token or a value with a control byte")
	errWriteTarget = errors.New("method, host, path or query that is to be written has a byte that does not belong there")
	errWriteStatus = errors.New("the status that is to be written is no final status")
	errWriteTunnel = errors.New("a response that begins a tunnel has none, or nobody asked for one")
)

// appendFields appends every field but those that the codec owns.
func appendFields(dst []byte, h *stream.Header) ([]byte, error) {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if ownedField[f.ID] {
			continue
		}
		if f.ID == stream.Unknown && !validToken(f.Name) || !validValue(f.Value) {
			return dst, errWriteField
		}
		dst = append(dst, f.Name...)
		dst = append(dst, ':', ' ')
		dst = append(dst, f.Value...)
		dst = append(dst, '\r', '\n')
	}
	return dst, nil
}

// appendLength appends Content-Length.
func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// appendLastChunk ends a chunked body.
func appendLastChunk(dst []byte, trailer *stream.Header) ([]byte, error) {
	dst = append(dst, '0', '\r', '\n')
	if trailer != nil {
		var err error
		if dst, err = appendFields(dst, trailer); err != nil {
			return dst, err
		}
	}
	return append(dst, '\r', '\n'), nil
}

// appendChunked appends the framing of a body without known length.
func appendChunked(dst []byte, body stream.Body) []byte {
	dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	if a, ok := body.(stream.Announcer); ok {
		if names := a.Announced(); names != "" && validValue(names) {
			dst = append(dst, "Trailer: "...)
			dst = append(dst, names...)
			dst = append(dst, '\r', '\n')
		}
	}
	return dst
}

// statusLines holds the usual lines whole.
var statusLines = func() (lines [600]string) {
	for code, reason := range reasons {
		lines[code] = "HTTP/1.1 " + strconv.Itoa(code) + " " + reason + "\r\n"
	}
	return lines
}()

// appendStatusLine appends the status line. We say 1.1 to everybody: it is the
// version we speak (RFC 9110 section 6.2).
func appendStatusLine(dst []byte, status int) []byte {
	if status < len(statusLines) && statusLines[status] != "" {
		return append(dst, statusLines[status]...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	return append(dst, " \r\n"...)
}

var reasons = map[int]string{
	100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
	200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
	205: "Reset Content", 206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
	305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
	405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required",
	408: "Request Timeout", 409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed",
	413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable",
	417: "Expectation Failed", 421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked",
	424: "Failed Dependency", 425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required",
	429: "Too Many Requests", 431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
	500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
	504: "Gateway Timeout", 505: "HTTP Version Not Supported", 506: "Variant Also Negotiates",
	507: "Insufficient Storage", 508: "Loop Detected", 511: "Network Authentication Required",
}

// dateLine is the Date field of one second.
type dateLine struct {
	second int64
	text   string
}

// appendDate appends the Date field of now, which is made once a second.
func (s *Server) appendDate(dst []byte, now time.Time) []byte {
	line := s.date.Load()
	if second := now.Unix(); line == nil || line.second != second {
		const layout = "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n"
		line = &dateLine{second: second, text: now.UTC().Format(layout)}
		s.date.Store(line)
	}
	return append(dst, line.text...)
}
