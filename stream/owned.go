package stream

import "strings"

// Ownership says who may write a request header or trailer field.
type Ownership uint8

// The ownerships.
const (
	NotOwned      Ownership = iota // anyone's
	OwnedVouched                   // a trusted peer's; from others it is removed
	OwnedWritten                   // Weir's own: what came is replaced (and read, from a trusted peer)
	OwnedReserved                  // no peer's: always removed
)

// ownedPatterns are the names that say who or where the client is, or that
// take the place of a fact that Weir checked. A "*" at the end stands for any
// rest; of two patterns that match, the first counts. The fields that have an
// ID stand in Owner.
var ownedPatterns = []struct {
	pattern string
	owner   Ownership
}{
	{"x-forwarded-client-cert*", OwnedReserved}, // trust in an address is no trust in an identity
	{"x-forwarded*", OwnedVouched},
	{"x-original-*", OwnedVouched}, // -url, -host, -forwarded-for: frameworks route by them
	{"x-rewrite-url", OwnedVouched},
	{"x-client-ip", OwnedVouched},
	{"x-cluster-client-ip", OwnedVouched},
	{"client-ip", OwnedVouched},
	{"true-client-ip", OwnedVouched},
	{"cf-connecting-ip", OwnedVouched}, // this and the next three: content networks and clouds
	{"fastly-client-ip", OwnedVouched},
	{"x-azure-clientip", OwnedVouched},
	{"x-appengine-user-ip", OwnedVouched},
	{"x-originating-ip", OwnedVouched},
	{"x-proxyuser-ip", OwnedVouched},
	{"proxy-client-ip", OwnedVouched}, // this and the next: Java servers
	{"wl-proxy-client-ip", OwnedVouched},
	{"x-scheme", OwnedVouched},
	{"x-url-scheme", OwnedVouched},
	{"front-end-https", OwnedVouched},
	{"x-host", OwnedVouched},
	{"x-http-host-override", OwnedVouched},
	{"x-envoy-*", OwnedVouched},  // Envoy obeys them from an address it calls internal, such as ours
	{"x-remote-*", OwnedVouched}, // -user, -group, -extra-, -ip, -addr; Kubernetes believes a front proxy
	{"remote-addr", OwnedVouched},
	{"remote-user", OwnedVouched}, // this and the next five: what authenticating proxies say
	{"remote-groups", OwnedVouched},
	{"remote-name", OwnedVouched},
	{"remote-email", OwnedVouched},
	{"x-webauth-*", OwnedVouched},
	{"x-auth-request-*", OwnedVouched},
	{"x-amzn-mtls-clientcert*", OwnedVouched},
	{"x-arr-clientcert", OwnedVouched},
	{"x-weir-*", OwnedReserved},
	{"x-client-cert*", OwnedReserved},
	{"client-cert*", OwnedReserved}, // RFC 9440
	{"x-ssl-client*", OwnedReserved},
	{"x-ssl-cert*", OwnedReserved},
	{"ssl-client*", OwnedReserved},
	{"proxy", OwnedReserved}, // becomes the variable HTTP_PROXY of a CGI program
}

// misspelledNames have an ID: Owner knows their right spelling, or the codec has
// removed it (framing). A spelling
// that CGI-like upstreams fold into it is removed here.
var misspelledNames = []string{
	"content-length", "transfer-encoding", "keep-alive", "proxy-connection",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "x-request-id",
}

type ownedEntry struct {
	name       string // folded, without "*"
	prefix     bool
	owner      Ownership // of the right spelling
	misspelled Ownership // of one with another byte for "-"
}

// ownedBuckets has the patterns by bucket, so that nearly every name meets an
// empty list. It is built once and never written again.
var ownedBuckets = func() (buckets [256][]ownedEntry) {
	add := func(e ownedEntry) {
		at := ownedBucket(e.name)
		buckets[at] = append(buckets[at], e)
	}
	for _, name := range misspelledNames {
		add(ownedEntry{name: name, misspelled: OwnedReserved})
	}
	for _, p := range ownedPatterns {
		name, prefix := strings.CutSuffix(p.pattern, "*")
		add(ownedEntry{name: name, prefix: prefix, owner: p.owner, misspelled: OwnedReserved})
	}
	return buckets
}()

// ownedBucket is the first byte of a name or, after "x-", the third.
func ownedBucket(name string) uint8 {
	if len(name) > 2 && foldOwned(name[0]) == 'x' && foldOwned(name[1]) == '-' {
		return 128 + foldOwned(name[2])
	}
	return foldOwned(name[0])
}

// foldOwned makes equal what upstreams make equal: case, and every byte that
// is no letter or digit (CGI, WSGI and their like turn them all into "_").
func foldOwned(c byte) uint8 {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	}
	return '-'
}

// EqualLoose compares two names as the loosest upstreams do: without case, and
// with every byte that is no letter or digit equal to every other.
func EqualLoose(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if foldOwned(a[i]) != foldOwned(b[i]) {
			return false
		}
	}
	return true
}

// Owner is who may write a request field. Every spelling counts that an
// upstream could take for the name: case, "_" or another byte for "-".
func Owner(f *Field) Ownership {
	switch f.ID {
	case Unknown:
		return ownerOfName(f.Name)
	case Forwarded, XForwardedFor, XForwardedHost, XForwardedProto, XForwardedPort, XRealIP, XRequestID:
		return OwnedWritten
	}
	return NotOwned
}

// Owned tells whether a peer may not write the name as it likes. In a trailer
// no such field is ever let through.
func Owned(name string) bool {
	return Owner(&Field{Name: name, ID: Lookup(name)}) != NotOwned
}

func ownerOfName(name string) Ownership {
	if name == "" {
		return NotOwned
	}
	for _, e := range ownedBuckets[ownedBucket(name)] {
		if matches, exact := e.match(name); exact {
			return e.owner
		} else if matches {
			return e.misspelled
		}
	}
	return NotOwned
}

func (e *ownedEntry) match(name string) (matches, exact bool) {
	if len(name) < len(e.name) || len(name) > len(e.name) && !e.prefix {
		return false, false
	}
	exact = true
	for i := 0; i < len(e.name); i++ {
		if foldOwned(name[i]) != e.name[i] {
			return false, false
		}
		if e.name[i] == '-' && name[i] != '-' {
			exact = false
		}
	}
	return true, exact
}
