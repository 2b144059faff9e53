package http3

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// The refusals of a head, without a byte of the peer: they go to logs.
var (
	errFieldName    = errors.New("a field name is empty, no token or not in lower case")
	errFieldValue   = errors.New("a field value has a control byte, or white space at an end")
	errPseudo       = errors.New("a pseudo-header is unknown, does not belong here or stands more than once")
	errPseudoOrder  = errors.New("a pseudo-header stands behind other fields")
	errPseudoAbsent = errors.New("a pseudo-header is missing")
	errConnection   = errors.New("a field belongs to a connection of HTTP/1")
	errTE           = errors.New("TE is not \"trailers\"")
	errLength       = errors.New("Content-Length is no plain decimal number that fits, or stands more than once")
	errHost         = errors.New("the Host field stands more than once or differs from :authority")
	errHostMissing  = errors.New("there is neither :authority nor a Host field")
	errScheme       = errors.New(":scheme is not https")
	errMethod       = errors.New("the method is no token, or a standard one in other letter case")
	errTargetByte   = errors.New("the request target has a byte that is no visible ASCII character")
	errExpectation  = errors.New("the expectation is not 100-continue")
	errStatus       = errors.New(":status is not three digits of a status that HTTP/3 has")
	errTrailerField = errors.New("a trailer section has a pseudo-header, or a field that frames or routes the message")
	errProtocol     = errors.New(":protocol is no token, or goes with a method other than CONNECT")
)

// addedFields is how many fields the stages behind the codec usually add.
const addedFields = 8

// pseudo are the pseudo-headers of a head (RFC 9114 section 4.3).
type pseudo struct {
	method, scheme, authority, path, protocol, status string
	has                                               uint8
}

// The bits of pseudo.has.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasProtocol
	hasStatus

	requestPseudo = hasMethod | hasScheme | hasAuthority | hasPath | hasProtocol
)

// facts is what the fields of a head say besides what stands in the Header.
type facts struct {
	pseudo  pseudo
	length  int64 // of Content-Length; -1 without one
	hosts   int
	host    string
	expects int
	expect  string
	trailer string // of the first Trailer field
	cookies int
	te      bool
	regular bool // a field that is no pseudo-header has come
}

// read takes the fields of the section: pseudo-headers and framing into x, the
// others into h. allowed has the pseudo-headers that may stand here.
func (x *facts) read(s *section, h *stream.Header, allowed uint8) error {
	*x = facts{length: -1}
	text := string(s.text)
	h.Grow(len(s.fields) + addedFields)
	for i := range s.fields {
		name, value := s.fields[i].strings(text)
		if err := x.field(name, value, h, allowed); err != nil {
			return fmt.Errorf("field %d: %w", i+1, err)
		}
	}
	if x.cookies > 1 {
		joinCookies(h)
	}
	return nil
}

func (f *rawField) strings(text string) (name, value string) {
	name, value = f.name, f.value
	if f.nameText {
		name = text[f.nameFrom:f.nameTo]
	}
	if f.valueText {
		value = text[f.valueFrom:f.valueTo]
	}
	return name, value
}

func (x *facts) field(name, value string, h *stream.Header, allowed uint8) error {
	if name != "" && name[0] == ':' {
		if x.regular {
			return errPseudoOrder
		}
		return x.pseudo.take(name, value, allowed)
	}
	x.regular = true
	if name == "" || !is(name, lowerByte) {
		return errFieldName
	}
	if !validValue(value) {
		return errFieldValue
	}
	id := stream.Lookup(name)
	if framingField[id] {
		return x.frame(id, value)
	}
	if id == stream.Cookie {
		x.cookies++
	}
	if id != stream.Unknown {
		name = id.String() // equal to any case, and what HTTP/1.1 upstreams are used to
	}
	h.Append(stream.Field{Name: name, Value: value, ID: id})
	return nil
}

// take reads one pseudo-header.
func (p *pseudo) take(name, value string, allowed uint8) error {
	var bit uint8
	var to *string
	switch name {
	case ":method":
		bit, to = hasMethod, &p.method
	case ":scheme":
		bit, to = hasScheme, &p.scheme
	case ":authority":
		bit, to = hasAuthority, &p.authority
	case ":path":
		bit, to = hasPath, &p.path
	case ":protocol":
		bit, to = hasProtocol, &p.protocol
	case ":status":
		bit, to = hasStatus, &p.status
	}
	if bit&allowed == 0 || p.has&bit != 0 {
		return errPseudo
	}
	p.has |= bit
	*to = value
	return nil
}

// frame reads one field that never stands in a Header (RFC 9114 section 4.2).
func (x *facts) frame(id stream.ID, value string) error {
	switch id {
	case stream.ContentLength:
		return x.takeLength(value)
	case stream.Host:
		x.hosts++
		x.host = value
	case stream.Expect:
		x.expects++
		x.expect = value
	case stream.TE:
		if x.te = true; !stream.EqualFold(value, "trailers") {
			return errTE
		}
	case stream.Trailer:
		if x.trailer == "" {
			x.trailer = value
		}
	default:
		return errConnection
	}
	return nil
}

// takeLength reads Content-Length (RFC 9110 section 8.6). Equal repetitions,
// which a recipient may repair, are refused: two readers repair differently.
func (x *facts) takeLength(s string) error {
	if x.length >= 0 || s == "" || len(s) > 18 { // 18 digits always fit in an int64
		return errLength
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return errLength
		}
		n = 10*n + int64(s[i]-'0')
	}
	x.length = n
	return nil
}

// joinCookies makes one field of the crumbs of a cookie (RFC 9114 section 4.2.1).
func joinCookies(h *stream.Header) {
	size := 0
	for _, f := range h.Fields() {
		if f.ID == stream.Cookie {
			size += len(f.Value) + len("; ")
		}
	}
	var joined strings.Builder
	joined.Grow(size)
	for _, f := range h.Fields() {
		if f.ID == stream.Cookie {
			if joined.Len() > 0 {
				joined.WriteString("; ")
			}
			joined.WriteString(f.Value)
		}
	}
	h.SetID(stream.Cookie, joined.String())
}

// readTrailer takes a trailer section into h. Of a request no field is let
// through that says who or where the client is.
func readTrailer(s *section, h *stream.Header) error {
	text := string(s.text)
	for i := range s.fields {
		name, value := s.fields[i].strings(text)
		switch {
		case name == "" || name[0] == ':':
			return errTrailerField
		case !is(name, lowerByte):
			return errFieldName
		case !validValue(value):
			return errFieldValue
		}
		keep, err := trailerAllowed(name)
		if err != nil {
			return err
		}
		if keep {
			h.Add(name, value)
		}
	}
	return nil
}

// trailerAllowed says what becomes of a trailer field (RFC 9110 section 6.5.1).
// Fields that frame or route are an attack. Other well-known fields, and those
// that say who a client is, are dropped: whoever merges trailers into the head
// would let them stand for checked ones. The rest goes through.
func trailerAllowed(name string) (keep bool, err error) {
	var spelling [32]byte // no well-known name is longer
	if len(name) <= len(spelling) {
		for i := 0; i < len(name); i++ {
			if spelling[i] = name[i]; name[i] == '_' {
				spelling[i] = '-'
			}
		}
		switch id := stream.Lookup(string(spelling[:len(name)])); {
		case framingField[id]:
			return false, errTrailerField
		case id == stream.ETag || id == stream.ServerTiming:
			return true, nil
		case id != stream.Unknown:
			return false, nil
		}
	}
	for _, prefix := range [...]string{"content-", "sec-", "proxy-"} {
		if len(name) >= len(prefix) && stream.EqualLoose(name[:len(prefix)], prefix) {
			return false, nil
		}
	}
	return !stream.Owned(name), nil
}

// announceable is a Trailer value, if it names only fields that we let through.
func announceable(list string) string {
	for rest, more := list, list != ""; more; {
		var name string
		name, rest, more = strings.Cut(rest, ",")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if keep, _ := trailerAllowed(name); !keep || !validToken(name) {
			return ""
		}
	}
	return list
}
