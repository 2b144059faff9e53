// Package clienthello reads the names that a TLS client asks for (RFC 8446
// section 4.1.2) out of the first bytes of its connection, without ending TLS.
//
// It never guesses. Whoever routes by the name must route as the TLS server
// behind reads it: a hello is put together from all of its records before a
// name is taken from it, and what two readers could understand differently (a
// name twice, bytes behind the hello, a length that does not fit) is Malformed
// and has no name.
package clienthello

import (
	"bytes"

	"github.com/weirproxy/weir/stream"
)

// State is how far a hello has come.
type State uint8

// The states.
const (
	More      State = iota // not all of it is there
	Complete               // it is there and has the names that are returned
	NotTLS                 // this is no TLS hello
	Malformed              // it begins like one, and is none that can be trusted
)

var stateNames = [...]string{"more", "complete", "not TLS", "malformed"}

func (s State) String() string { return stateNames[s] }

const (
	// MaxMessage is the largest hello. Real ones have 200 to 2,000 bytes.
	MaxMessage = 16 << 10
	// MaxBytes bounds the hello with the headers of its records: a hello of
	// MaxMessage in records of five bytes or more, one of 5 KiB in the smallest.
	MaxBytes = 32 << 10
)

// What the bytes mean, RFC 8446 sections 4, 4.2, 5.1 and RFC 6066 section 3.
const (
	recordHandshake = 22
	recordHeader    = 5
	maxRecord       = 1 << 14
	clientHello     = 1
	messageHeader   = 4
	extensionName   = 0
	extensionALPN   = 16
	nameHost        = 0
)

// Parser reads a hello that arrives in pieces. It remembers which records it
// has seen, so that all calls together cost no more than one. The zero Parser
// is ready.
type Parser struct {
	records int // bytes of the records whose header was read
	message int // bytes of the message in them
	size    int // of the whole message, its header included; 0: not known yet
}

// Parse reads the hello at the start of b.
func Parse(b []byte) (stream.Hello, State) { return new(Parser).Parse(b) }

// Parse reads the hello at the start of b, which has the bytes of the call
// before and those that have come since.
func (p *Parser) Parse(b []byte) (stream.Hello, State) {
	if state := p.scan(b); state != Complete {
		return stream.Hello{}, state
	}
	message := b[recordHeader:p.records]
	if int(uint16(b[3])<<8|uint16(b[4])) < p.size {
		message = join(b[:p.records], p.size)
	}
	hello, ok := parseHello(message[messageHeader:])
	if !ok {
		return stream.Hello{}, Malformed
	}
	return hello, Complete
}

// scan walks the records until the message is complete.
func (p *Parser) scan(b []byte) State {
	if state := Begins(b); state != Complete {
		return state
	}
	for {
		if p.size == 0 {
			if state := p.measure(b); state != Complete {
				return state
			}
		}
		switch {
		case p.size > 0 && p.message > p.size:
			return Malformed // something follows in the same record
		case p.size > 0 && p.message == p.size:
			if len(b) < p.records {
				return More
			}
			return Complete
		}
		if state := p.record(b); state != Complete {
			return state
		}
	}
}

// Begins tells by the first bytes whether this is a hello: the header of a
// handshake record and the type of the message in it. Complete: it is one so
// far. What a lenient server might take for a hello is Malformed and not
// NotTLS, so that nobody gets past a rule about names by it.
func Begins(b []byte) State {
	for i, c := range b[:min(len(b), recordHeader+1)] {
		switch {
		case i == 0 && c != recordHandshake, i == 1 && c >= 0x10:
			return NotTLS
		case i == 1 && c != 3,
			i == 4 && b[3] == 0 && c == 0,
			i == 5 && c != clientHello:
			return Malformed
		}
	}
	if len(b) <= recordHeader {
		return More
	}
	return Complete
}

// record reads the header of the next record.
func (p *Parser) record(b []byte) State {
	if len(b) < p.records+recordHeader {
		if p.records+recordHeader > MaxBytes {
			return Malformed
		}
		return More
	}
	head := b[p.records:]
	n := int(head[3])<<8 | int(head[4])
	if head[0] != recordHandshake || head[1] != 3 || n == 0 || n > maxRecord {
		return Malformed
	}
	p.records += recordHeader + n
	p.message += n
	if p.records > MaxBytes {
		return Malformed
	}
	return Complete
}

// measure finds the size of the message once the records with its header are
// there: no later than in the fourth.
func (p *Parser) measure(b []byte) State {
	if p.message < messageHeader {
		return Complete
	}
	var head [messageHeader]byte
	n := 0
	for at := 0; n < messageHeader; {
		end := at + recordHeader + int(b[at+3])<<8 + int(b[at+4])
		for at += recordHeader; at < end && n < messageHeader; at++ {
			if at >= len(b) {
				return More
			}
			head[n] = b[at]
			n++
		}
	}
	p.size = messageHeader + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
	if p.size > MaxMessage {
		return Malformed
	}
	return Complete
}

// join is the message without the headers of its records.
func join(b []byte, size int) []byte {
	message := make([]byte, 0, size)
	for len(b) > 0 {
		end := recordHeader + int(b[3])<<8 + int(b[4])
		message = append(message, b[recordHeader:end]...)
		b = b[end:]
	}
	return message
}

// reader takes fields off the front; once one does not fit, all fail.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number(size int) (n int) {
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return n
}

// vector is a field behind its length, which is a number of that size.
func (r *reader) vector(size int) []byte { return r.take(r.number(size)) }

func parseHello(body []byte) (hello stream.Hello, ok bool) {
	r := reader{rest: body}
	major := r.number(1)
	r.take(1 + 32) // minor version, random
	session, suites, compressions := r.vector(1), r.vector(2), r.vector(1)
	if r.bad || major != 3 || len(session) > 32 || len(suites) == 0 || len(suites)%2 != 0 || len(compressions) == 0 {
		return hello, false
	}
	if len(r.rest) == 0 {
		return hello, true // of a client before RFC 4366
	}
	extensions := reader{rest: r.vector(2)}
	if r.bad || len(r.rest) > 0 {
		return hello, false
	}
	named, offered := false, false
	for len(extensions.rest) > 0 {
		kind, data := extensions.number(2), extensions.vector(2)
		switch {
		case extensions.bad:
			return stream.Hello{}, false
		case kind == extensionName:
			if hello.ServerName, ok = parseName(data); !ok || named {
				return stream.Hello{}, false
			}
			named = true
		case kind == extensionALPN:
			if hello.ALPN, ok = parseALPN(data); !ok || offered {
				return stream.Hello{}, false
			}
			offered = true
		}
	}
	return hello, true
}

// parseName reads the one name of a list. Other types of name were never
// defined, and TLS servers disagree on what to do with them.
func parseName(data []byte) (name string, ok bool) {
	outer := reader{rest: data}
	list := reader{rest: outer.vector(2)}
	kind, raw := list.number(1), list.vector(2)
	if outer.bad || list.bad || len(outer.rest) > 0 || len(list.rest) > 0 || kind != nameHost {
		return "", false
	}
	if bytes.ContainsAny(raw, ":[]") { // an authority may have them, a name may not
		return "", false
	}
	name, _, err := stream.ParseAuthority(string(raw))
	return name, err == nil
}

func parseALPN(data []byte) (protocols []string, ok bool) {
	outer := reader{rest: data}
	list := reader{rest: outer.vector(2)}
	if outer.bad || len(outer.rest) > 0 || len(list.rest) == 0 {
		return nil, false
	}
	protocols = make([]string, 0, 4)
	for len(list.rest) > 0 {
		p := list.vector(1)
		if list.bad || len(p) == 0 {
			return nil, false
		}
		protocols = append(protocols, string(p))
	}
	return protocols, true
}
