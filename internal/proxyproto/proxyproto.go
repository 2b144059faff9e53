// Package proxyproto reads and writes the header of the PROXY protocol,
// versions 1 and 2: the line or block in which a load balancer says whose
// connection it passes on. The specification is proxy-protocol.txt of HAProxy.
//
// Reading is strict, and a header is complete or there is none: what stands in
// it decides who a client is.
package proxyproto

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"

	"github.com/weirproxy/weir/internal/prefixconn"
)

// Header is what a header says.
type Header struct {
	Version int // 1 or 2
	// Local: the sender speaks for itself (a health check, say), or cannot tell
	// whom it speaks for, or only names Unix sockets. The addresses of the
	// connection itself count; Source and Destination are zero.
	Local       bool
	Datagram    bool // the addresses are those of UDP
	Source      netip.AddrPort
	Destination netip.AddrPort
}

// State is how far a header has come.
type State uint8

// The states.
const (
	More      State = iota // not all of it is there
	Complete               // it is there
	Absent                 // this is no header
	Malformed              // it begins like one, and is none
)

var stateNames = [...]string{"more", "complete", "absent", "malformed"}

func (s State) String() string { return stateNames[s] }

// MaxBytes is the largest header that is read: that of version 2 has room for
// the extensions that load balancers send, a name of a certificate among them.
const MaxBytes = 4 << 10

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Parse reads the header at the start of b. n is its length once it is
// Complete.
func Parse(b []byte) (h Header, n int, state State) {
	switch {
	case begins(b, signature1):
		if len(b) < len(signature1) {
			return Header{}, 0, More
		}
		return parse1(b)
	case begins(b, signature2):
		if len(b) < len(signature2) {
			return Header{}, 0, More
		}
		return parse2(b)
	}
	return Header{}, 0, Absent
}

// begins tells whether b begins with a signature, as far as b goes.
func begins(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// The errors of Read, besides those of the connection.
var (
	ErrAbsent    = errors.New("the connection does not begin with a PROXY protocol header")
	ErrMalformed = errors.New("the PROXY protocol header is malformed, or larger than 4 KiB")
)

// firstRead has room for every header without extensions, of which one with
// Unix sockets is the largest.
const firstRead = 16 + 216

// Read reads the header at the start of nc. The connection that it returns
// begins with the byte behind the header. How long it waits is for the
// deadline of nc to say.
func Read(nc net.Conn) (h Header, rest net.Conn, err error) {
	buf := make([]byte, firstRead)
	for have := 0; ; {
		n, err := nc.Read(buf[have:])
		have += n
		h, size, state := Parse(buf[:have])
		switch {
		case have == 0 && err == nil:
			continue
		case state == Complete:
			return h, prefixconn.New(nc, bytes.Clone(buf[size:have])), nil
		case state == Absent && have > 0:
			return Header{}, nil, ErrAbsent
		case state == Malformed:
			return Header{}, nil, ErrMalformed
		case err == io.EOF && have > 0:
			return Header{}, nil, io.ErrUnexpectedEOF
		case err != nil:
			return Header{}, nil, err
		case have == len(buf):
			buf = append(buf, make([]byte, MaxBytes-len(buf))...)
		}
	}
}
