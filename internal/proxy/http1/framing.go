package http1

import (
	"errors"

	"github.com/weirproxy/weir/stream"
)

// The refusals of framing fields, without a byte of the peer.
var (
	errLengthTwice     = errors.New("Content-Length stands more than once")
	errLength          = errors.New("Content-Length is no plain decimal number that fits")
	errCoding          = errors.New("Transfer-Encoding is not exactly \"chunked\"")
	errCodingTwice     = errors.New("Transfer-Encoding stands more than once")
	errCodingVersion   = errors.New("Transfer-Encoding in an HTTP/1.0 message")
	errLengthCoding    = errors.New("both Content-Length and Transfer-Encoding")
	errOption          = errors.New("a Connection option is no token")
	errOptions         = errors.New("too many Connection options")
	errOptionEssential = errors.New("a Connection option names a field that is meant for every recipient")
)

// ownedField marks the fields that never stand in a stream.Header: the codec
// reads them into facts and writes its own.
var ownedField = [256]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.Host: true,
	stream.HTTP2Settings: true, stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true,
	stream.Trailer: true, stream.TransferEncoding: true, stream.Upgrade: true,
}

// framing is what the owned fields of one head say, gathered while the fields
// are read and judged by check once all are there.
type framing struct {
	ownedFacts
	options []string // other names that Connection nominates; nil until the connection sees one, as most never do
}

// ownedFacts is the part that a new head begins with from nothing.
type ownedFacts struct {
	length    int64 // of Content-Length; -1 without one
	chunked   bool
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
	upgrade   bool // Connection: upgrade
	codings   int  // Transfer-Encoding fields
	hosts     int  // Host fields
	upgrades  int  // Upgrade fields
	expects   int  // Expect fields
	host      string
	protocol  string // of Upgrade
	expect    string
	trailer   string // of the first Trailer field
}

func (fr *framing) reset() {
	clear(fr.options) // let the head go
	fr.options = fr.options[:0]
	fr.ownedFacts = ownedFacts{length: -1}
}

// read takes the fields of a head, whose lines scan has found: those that are
// owned into fr, the others into h.
func (fr *framing) read(scan *scanner, head string, h *stream.Header, proto stream.Proto) error {
	fr.reset()
	for i := 1; i < len(scan.ends); i++ {
		field, err := cutField(scan.line(head, i))
		if err == nil && ownedField[field.ID] {
			if err = fr.take(&field); err == nil {
				continue
			}
		}
		if err != nil {
			return atField(i, err)
		}
		h.Append(field)
	}
	return fr.check(proto)
}

// take reads one owned field.
func (fr *framing) take(f *stream.Field) error {
	switch f.ID {
	case stream.ContentLength:
		return fr.takeLength(f.Value)
	case stream.TransferEncoding:
		fr.codings++
		fr.chunked = stream.EqualFold(f.Value, "chunked")
		switch {
		case fr.codings > 1:
			return errCodingTwice
		case !fr.chunked:
			return errCoding
		}
	case stream.Connection:
		return fr.takeConnection(f.Value)
	case stream.Host:
		fr.hosts++
		fr.host = f.Value
	case stream.Upgrade:
		fr.upgrades++
		fr.protocol = f.Value
	case stream.Expect:
		fr.expects++
		fr.expect = f.Value
	case stream.Trailer:
		if fr.trailer == "" {
			fr.trailer = f.Value
		}
	}
	return nil
}

// takeLength reads Content-Length (RFC 9110 section 8.6). Equal repetitions,
// which a recipient may repair, are refused: two readers repair differently.
func (fr *framing) takeLength(s string) error {
	if fr.length >= 0 {
		return errLengthTwice
	}
	if s == "" || len(s) > 18 { // 18 digits always fit in an int64
		return errLength
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return errLength
		}
		n = 10*n + int64(s[i]-'0')
	}
	fr.length = n
	return nil
}

// takeConnection reads the options of a Connection field (RFC 9110 section 7.6.1).
func (fr *framing) takeConnection(list string) error {
	for more := true; more; {
		var option string
		option, list, more = nextElement(list)
		switch {
		case option == "":
		case stream.EqualFold(option, "close"):
			fr.close = true
		case stream.EqualFold(option, "keep-alive"):
			fr.keepAlive = true
		case stream.EqualFold(option, "upgrade"):
			fr.upgrade = true
		case !validToken(option):
			return errOption
		case len(fr.options) == maxConnectionOptions:
			return errOptions
		default:
			fr.options = append(fr.options, option)
		}
	}
	return nil
}

// check judges what the fields say together (RFC 9112 section 6.1).
func (fr *framing) check(proto stream.Proto) error {
	switch {
	case fr.codings > 0 && fr.length >= 0:
		return errLengthCoding
	case fr.codings > 0 && proto == stream.HTTP10:
		return errCodingVersion
	}
	return nil
}

// checkOptions refuses a request that nominates a field that is meant for every
// recipient: its sender wants it gone before the next one sees it
// (CVE-2021-33197).
func (fr *framing) checkOptions() error {
	for _, name := range fr.options {
		if essential(name) {
			return errOptionEssential
		}
	}
	return nil
}

// dropOptions removes the fields that Connection nominated, but for essential
// ones, which a response must not nominate either.
func (fr *framing) dropOptions(h *stream.Header) {
	for _, name := range fr.options {
		if !essential(name) {
			h.Del(name)
		}
	}
}

// essential tells whether a field of that name is never hop-by-hop.
func essential(name string) bool {
	switch id := stream.Lookup(name); id {
	case stream.Unknown:
		return hasPrefixFold(name, "content-") || hasPrefixFold(name, "x-forwarded-")
	case stream.ContentLength, stream.TransferEncoding, stream.Host, stream.Expect:
		return true
	default:
		return !ownedField[id]
	}
}

// hasPrefixFold tells whether s begins with prefix, which is in lower case;
// case does not count, and "_" counts as "-".
func hasPrefixFold(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ {
		if foldName(s[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func foldName(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}
