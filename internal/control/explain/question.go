package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weirproxy/weir/stream"
)

// kind is what a question is about.
type kind uint8

const (
	request    kind = iota // HTTP
	tunnel                 // CONNECT
	connection             // TCP, with a TLS hello when the scheme is tls
	session                // UDP
)

var kindNames = [...]string{"HTTP requests", "CONNECT", "TCP connections", "UDP sessions"}

// url is a question in its parts, not changed in any way.
type url struct {
	kind                      kind
	scheme, authority, target string // scheme is "" when the listener decides
	query                     string // of tls:// only; else it is part of the target
	method                    string
	grpc                      bool // asked for as such
	alpn                      []string
	header                    stream.Header
	client                    netip.Addr
}

// parseURL cuts the URL without reading it: that is done as for every request.
func parseURL(q *Query) (*url, error) {
	u := &url{method: q.Method, client: q.Client}
	if !u.client.IsValid() {
		u.client = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	host := ""
	for _, field := range q.Header {
		if stream.EqualFold(field[0], "Host") {
			host = field[1]
			continue
		}
		u.header.Add(field[0], field[1])
	}
	rest, _, _ := strings.Cut(q.URL, "#") // clients do not send it
	switch q.Method {
	case "TCP":
		return u, u.parseCarried(rest, connection, "tcp", "tls")
	case "UDP":
		return u, u.parseCarried(rest, session, "udp")
	case "CONNECT":
		return u, u.parseTunnel(rest)
	case "GRPC":
		u.method, u.grpc = "POST", true
		if _, there := u.header.GetID(stream.ContentType); !there {
			u.header.AddID(stream.ContentType, "application/grpc")
		}
	}
	return u, u.parseRequest(rest, host)
}

func (u *url) parseRequest(rest, host string) error {
	scheme, behind, absolute := strings.Cut(rest, "://")
	u.authority = host
	switch {
	case absolute && (scheme == "http" || scheme == "https"):
		end := strings.IndexAny(behind, "/?")
		if end < 0 {
			end = len(behind)
		}
		u.scheme, u.target = scheme, behind[end:]
		if u.authority == "" {
			u.authority = behind[:end]
		}
		if !strings.HasPrefix(u.target, "/") {
			u.target = "/" + u.target
		}
	case absolute && (scheme == "tcp" || scheme == "tls"):
		return fmt.Errorf("URL %q is about a connection: ask for TCP %s", rest, rest)
	case absolute && scheme == "udp":
		return fmt.Errorf("URL %q is about a session: ask for UDP %s", rest, rest)
	case strings.HasPrefix(rest, "/"), rest == "*":
		u.target = rest
	default:
		return fmt.Errorf("URL %q is neither http://HOST/PATH, https://HOST/PATH nor /PATH", rest)
	}
	return nil
}

// parseTunnel reads HOST:PORT, which is where the client wants to go, not a
// listener.
func (u *url) parseTunnel(rest string) error {
	u.kind, u.target = tunnel, rest
	if strings.Contains(rest, "/") || portOf(rest) == "" {
		return fmt.Errorf("CONNECT asks for HOST:PORT, and %q is not of that form", rest)
	}
	return nil
}

// parseCarried reads tcp://HOST:PORT, tls://NAME:PORT?alpn=h2,http/1.1 and
// udp://HOST:PORT. The host may be left out; with tls it is the name in the hello.
func (u *url) parseCarried(rest string, what kind, schemes ...string) error {
	u.kind = what
	form := schemes[0] + "://HOST:PORT"
	if what == connection {
		form += " or tls://NAME:PORT?alpn=h2,http/1.1"
	}
	for _, scheme := range schemes {
		behind, ok := strings.CutPrefix(rest, scheme+"://")
		if !ok {
			continue
		}
		u.scheme = scheme
		var query string
		u.authority, query, _ = strings.Cut(behind, "?")
		if names, is := strings.CutPrefix(query, "alpn="); is && scheme == "tls" && names != "" {
			u.alpn, u.query = strings.Split(names, ","), query
		} else if query != "" {
			return fmt.Errorf("URL %q: only tls:// has something behind ?, and that is alpn=NAME,NAME", rest)
		}
		if strings.Contains(u.authority, "/") {
			return fmt.Errorf("URL %q: %s have no path", rest, kindNames[what])
		}
		return nil
	}
	return fmt.Errorf("URL %q is not %s", rest, form)
}

// serverName is the name in the hello of a tls:// question, "" for an address,
// which no client sends as a name.
func (u *url) serverName() (string, error) {
	if u.scheme != "tls" || u.authority == "" || strings.HasPrefix(u.authority, ":") {
		return "", nil
	}
	host, _, err := stream.ParseAuthority(u.authority)
	if err != nil {
		return "", errors.New("the name cannot stand in a TLS hello: " + err.Error())
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return "", nil
	}
	return host, nil
}
