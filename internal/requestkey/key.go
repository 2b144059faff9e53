// Package requestkey names one value of a request, as the document writes it:
//
//	header:NAME   the header field; several fields of the name are joined with ", "
//	cookie:NAME   the first cookie of the name
//	query:NAME    the first query parameter of the name, decoded
//	claim:NAME    what the verified token of the request says: a string, a number
//	              or a boolean; /a/b leads into objects (stream.ParseClaimName)
//	country       where the client is (stream.Place): DE
//	continent     EU
//	asn           the number of its autonomous system
//	client        the address of the client
//	client/24     its IPv4 network of that length; of an IPv6 address the /64
//	client/24/56  the same, with the length for IPv6
//
// Splits, limits and balancers take their keys from here, so that one word in
// the document means the same value everywhere. Values that make up one key
// together are joined by [Append], which keeps them apart by their lengths.
package requestkey

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/stream"
)

type source uint8

const (
	none source = iota
	header
	cookie
	query
	claim
	country
	continent
	asn
	client
)

// places are the keys that go by where the client is.
var places = [...]struct {
	text   string
	source source
}{{"country", country}, {"continent", continent}, {"asn", asn}}

var prefixes = [...]struct {
	text   string
	source source
}{
	{"header:", header},
	{"cookie:", cookie},
	{"query:", query},
	{"claim:", claim},
}

// Key names one value of a request. The zero Key names none.
type Key struct {
	source source
	name   string
	claim  stream.ClaimName
	bits   [2]uint8 // of client: the lengths of the networks of IPv4 and IPv6
}

// Parse reads a key as the document writes it.
func Parse(text string) (Key, error) {
	if text == "client" {
		return Key{source: client, bits: wholeAddress}, nil
	}
	if lengths, found := strings.CutPrefix(text, "client/"); found {
		return parseNetwork(text, lengths)
	}
	for _, p := range places {
		if text == p.text {
			return Key{source: p.source}, nil
		}
	}
	for _, p := range prefixes {
		name, found := strings.CutPrefix(text, p.text)
		if !found {
			continue
		}
		if name == "" {
			return Key{}, fmt.Errorf("key %q has no name; write %sNAME", text, p.text)
		}
		if p.source == claim {
			return parseClaim(text, name)
		}
		if p.source != query && !stream.IsToken(name) {
			return Key{}, fmt.Errorf("key %q: %q is not a name that a %s can have", text, name, strings.TrimSuffix(p.text, ":"))
		}
		return Key{source: p.source, name: name}, nil
	}
	return Key{}, fmt.Errorf("key %q is not known; use header:NAME, cookie:NAME, query:NAME, claim:NAME, country, continent, asn, client or client/BITS", text)
}

func parseClaim(text, name string) (Key, error) {
	steps, err := stream.ParseClaimName(name)
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", text, err)
	}
	return Key{source: claim, name: name, claim: steps}, nil
}

// IsZero tells whether the key names nothing.
func (k Key) IsZero() bool { return k.source == none }

// OfClaim tells whether the value is known only of a request whose token was
// verified.
func (k Key) OfClaim() bool { return k.source == claim }

// OfCountry tells whether the value is known only with a database of countries.
func (k Key) OfCountry() bool { return k.source == country || k.source == continent }

// OfASN tells whether the value is known only with a database of autonomous
// systems.
func (k Key) OfASN() bool { return k.source == asn }

// String is the key as the document writes it.
func (k Key) String() string {
	if k.source == client {
		return k.network()
	}
	for _, p := range places {
		if p.source == k.source {
			return p.text
		}
	}
	for _, p := range prefixes {
		if p.source == k.source {
			return p.text + k.name
		}
	}
	return ""
}

// Of is the value in req; ok is false when req has none. It allocates for
// client, for repeated headers and for escaped query parameters; AppendTo does
// not for client.
func (k Key) Of(req *stream.Request) (value string, ok bool) {
	switch k.source {
	case header:
		return Header(&req.Header, k.name)
	case cookie:
		return Cookie(&req.Header, k.name)
	case query:
		return req.Target.QueryGet(k.name)
	case claim:
		return claimOf(req, k.claim)
	case country:
		value = req.Place().Country
		return value, value != ""
	case continent:
		value = req.Place().Continent
		return value, value != ""
	case asn:
		number := req.Place().ASN
		return strconv.FormatUint(uint64(number), 10), number != 0
	case client:
		if !req.Client.IsValid() {
			return "", false
		}
		return k.address(req).String(), true
	}
	return "", false
}

// claimOf is the text of a claim. A list or an object is no value: its elements
// would run together.
func claimOf(req *stream.Request, name stream.ClaimName) (value string, ok bool) {
	if req.Caller == nil || req.Caller.Claims == nil {
		return "", false
	}
	found, ok := req.Caller.Claims.At(name)
	return found.Text, ok && found.Kind == stream.TextClaim
}

// AppendTo appends the value in req to dst as it is, without its length.
func (k Key) AppendTo(dst []byte, req *stream.Request) (_ []byte, ok bool) {
	if k.source == client {
		if !req.Client.IsValid() {
			return dst, false
		}
		return k.address(req).AppendTo(dst), true
	}
	value, ok := k.Of(req)
	return append(dst, value...), ok
}

// Client is the address of the client in the one form in which addresses are
// compared: an IPv4 address that came mapped into IPv6 is an IPv4 address, and
// no zone is left.
func Client(req *stream.Request) netip.Addr { return req.Client.Unmap().WithZone("") }

// Header is the value of a header field; the values of several fields of the
// name are joined with ", " (RFC 9110 section 5.3).
func Header(h *stream.Header, name string) (value string, ok bool) {
	switch h.Count(name) {
	case 0:
		return "", false
	case 1:
		return h.Get(name)
	}
	var room [8]string
	return strings.Join(h.Values(room[:0], name), ", "), true
}
