package entry

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// write puts the settled facts into the request. All text that has to be made
// is made in one buffer and becomes one string, whose parts the fields are: one
// allocation per request.
func (e *Stage) write(req *stream.Request, f *facts) {
	proto := f.proto
	if proto == "" {
		proto = "http"
		if req.Conn.TLS != nil {
			proto = "https"
		}
	}
	host, hostPort := f.host, f.hostN
	if host == "" {
		host, hostPort = req.Target.Host, req.Target.Port
	}

	var space [512]byte
	buf := space[:0]
	if f.id == "" && e.cfg.NewID == nil {
		buf = appendID(buf)
	}
	idEnd := len(buf)
	buf = appendWay(buf, f)
	wayEnd := len(buf)
	if hostPort != "" {
		buf = append(append(append(buf, host...), ':'), hostPort...)
	}
	hostEnd := len(buf)
	if f.port == "" {
		buf = appendPort(buf, req.Conn)
	}
	portEnd := len(buf)
	if e.cfg.RFC7239 {
		buf = appendForwarded(buf, f, host, hostPort, proto)
	}
	text := string(buf)

	way := text[idEnd:wayEnd]
	if hostPort != "" {
		host = text[wayEnd:hostEnd]
	}
	port := f.port
	if port == "" {
		port = text[hostEnd:portEnd]
	}
	req.Client, req.ID = f.client(), e.id(f, text[:idEnd])

	h := &req.Header
	if way != "" {
		client, _, _ := strings.Cut(way, ",")
		h.AddID(stream.XForwardedFor, way)
		h.AddID(stream.XRealIP, client)
	}
	if host != "" {
		h.AddID(stream.XForwardedHost, host)
	}
	h.AddID(stream.XForwardedProto, proto)
	if port != "" {
		h.AddID(stream.XForwardedPort, port)
	}
	if e.cfg.RFC7239 {
		h.AddID(stream.Forwarded, text[portEnd:])
	}
	if e.cfg.Via != "" {
		h.AddID(stream.Via, e.via[req.Proto])
	}
	h.AddID(stream.XRequestID, req.ID)
}

func (e *Stage) id(f *facts, own string) string {
	switch {
	case f.id != "":
		return f.id
	case e.cfg.NewID != nil:
		return e.cfg.NewID()
	}
	return own
}

// appendID writes 128 random bits. The functions of math/rand/v2 draw from a
// ChaCha8 generator per thread that the system seeds: no lock, not guessable.
func appendID(dst []byte) []byte {
	const hex = "0123456789abcdef"
	for range 2 {
		bits := rand.Uint64()
		for range 16 {
			dst = append(dst, hex[bits>>60])
			bits <<= 4
		}
	}
	return dst
}

// appendWay writes the addresses that are vouched for, the client first. What
// an untrusted hop said of those before it is not passed on: whoever reads the
// first entry of X-Forwarded-For upstream reads the client.
func appendWay(dst []byte, f *facts) []byte {
	for i := f.n - 1; i >= 0; i-- {
		dst = f.hops[i].AppendTo(dst)
		if i > 0 {
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// appendPort writes the port that the connection came in on; nothing for a
// Unix socket.
func appendPort(dst []byte, conn *stream.Conn) []byte {
	if !conn.Local.IsValid() {
		return dst
	}
	return strconv.AppendUint(dst, uint64(conn.Local.Port()), 10)
}

// ownVias counts the entries of all Via fields that carry name:
// [protocol-name "/"] version SP name [SP comment] (RFC 9110 section 7.6.3).
func ownVias(h *stream.Header, name string) int {
	n := 0
	for _, f := range h.Fields() {
		if f.ID != stream.Via {
			continue
		}
		for rest := f.Value; rest != ""; {
			var entry string
			entry, rest, _ = strings.Cut(rest, ",")
			_, by, _ := strings.Cut(strings.TrimLeft(entry, " \t"), " ")
			by, _, _ = strings.Cut(strings.Trim(by, " \t"), " ")
			if stream.EqualFold(by, name) {
				n++
			}
		}
	}
	return n
}
