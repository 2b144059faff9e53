package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// tokenBytes is how much of the hash stands in a token: enough that two endpoints
// never share one, and no more to send with each request.
const tokenBytes = 12

// sticky sends what comes from one session to one endpoint. The session is kept
// by the client: a token that names the endpoint. The token is made of the names
// of cluster and endpoint by a keyed hash and of nothing else, so that every proxy
// with the same document makes the same one, before and after a restart. It does
// not show the address; who knows the name of the cluster and guesses the address
// can see that the guess is right.
type sticky struct {
	cluster string
	cookie  string // its name; "": header is used
	header  string
	before  string // what stands in Set-Cookie in front of the token
	behind  string // and behind it
	secure  string // of the document

	index atomic.Pointer[stickyIndex]
}

// stickyIndex is what stands for each endpoint. It is made when the endpoints
// change.
type stickyIndex struct {
	byToken map[string]*endpoint.Endpoint
	marks   map[*endpoint.Endpoint]mark
}

// mark is what a response says: the token, and the fields with it, made once.
type mark struct{ token, plain, secure string }

// newSticky is nil without a configuration.
func newSticky(cfg *config.Sticky, cluster string) *sticky {
	if cfg == nil {
		return nil
	}
	s := &sticky{cluster: cluster, header: cfg.Header}
	s.index.Store(&stickyIndex{})
	if c := cfg.Cookie; c != nil {
		s.cookie, s.secure = c.Name, c.Secure
		if s.cookie == "" {
			s.cookie = cookieName(cluster)
		}
		s.before = s.cookie + "="
		s.behind = cookieAttributes(c)
	}
	return s
}

// cookieName keeps the cookies of two clusters behind one host apart, without
// their names.
func cookieName(cluster string) string {
	sum := sha256.Sum256([]byte("weir sticky cookie\x00" + cluster))
	return "weir_" + hex.EncodeToString(sum[:4])
}

func cookieAttributes(c *config.StickyCookie) string {
	var text strings.Builder
	fmt.Fprintf(&text, "; Path=%s", c.Path)
	if c.TTL > 0 {
		fmt.Fprintf(&text, "; Max-Age=%d", max(int64(time.Duration(c.TTL)/time.Second), 1))
	}
	if c.HTTPOnly {
		text.WriteString("; HttpOnly")
	}
	text.WriteString(map[string]string{"strict": "; SameSite=Strict", "none": "; SameSite=None"}[c.SameSite])
	if c.SameSite == "lax" || c.SameSite == "" {
		text.WriteString("; SameSite=Lax")
	}
	return text.String()
}

// token names an endpoint. The key is no secret: it keeps the hash apart from
// others of the same parts.
func (s *sticky) token(ep *endpoint.Endpoint) string {
	h := hmac.New(sha256.New, []byte("weir sticky session 1"))
	for _, part := range []string{s.cluster, ep.Network, ep.Address, ep.Host} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:tokenBytes])
}

// prepare makes the index of a set. What the last one has is not made again.
func (s *sticky) prepare(set *endpoint.Set) {
	last := s.index.Load()
	next := &stickyIndex{byToken: map[string]*endpoint.Endpoint{}, marks: map[*endpoint.Endpoint]mark{}}
	for _, ep := range set.All() {
		var m mark
		if last != nil {
			m = last.marks[ep]
		}
		if m.token == "" {
			m = s.mark(ep)
		}
		next.byToken[m.token], next.marks[ep] = ep, m
	}
	s.index.Store(next)
}

func (s *sticky) mark(ep *endpoint.Endpoint) mark {
	m := mark{token: s.token(ep)}
	m.plain = s.before + m.token + s.behind
	m.secure = m.plain + "; Secure"
	if s.secure == "always" {
		m.plain = m.secure
	}
	return m
}

// asked is the token that a request comes with, or "".
func (s *sticky) asked(req *stream.Request) string {
	var token string
	if s.cookie != "" {
		token, _ = requestkey.Cookie(&req.Header, s.cookie)
	} else {
		token, _ = req.Header.Get(s.header)
	}
	return token
}

// session is the endpoint of the request's session, when it may be picked: fit,
// not ejected, of the subset of the route, and this is the first attempt. While that
// one has no room, its requests go elsewhere and the session stays. One whose
// weight is 0 keeps its sessions and gets no new ones.
func (x *exchange) session(now time.Time) *endpoint.Endpoint {
	s := x.cluster.sticky
	if s == nil || len(x.tried) > 0 || !isExchange(x.req) {
		return nil
	}
	x.token = s.asked(x.req)
	if x.token == "" {
		return nil
	}
	ep := s.index.Load().byToken[x.token]
	if ep == nil || !ep.Available(now) || x.subset != nil && !x.subset.by.Chooses(ep) {
		x.cluster.Stats.SessionsLost.Add(1)
		return nil
	}
	if !ep.HasRoom() {
		x.away = true
		x.cluster.Stats.SessionsAway.Add(1)
		return nil
	}
	return ep
}

// isExchange tells whether there are headers for a session.
func isExchange(req *stream.Request) bool { return req.Proto != stream.TCP && req.Proto != stream.UDP }

// keepSession tells the client which endpoint answered, unless it knows. A session
// does not begin with a failure.
func (x *exchange) keepSession(resp *stream.Response) {
	s := x.cluster.sticky
	if s == nil || x.away || resp.Status >= 500 || !isExchange(x.req) {
		return
	}
	m, known := s.index.Load().marks[x.ep]
	if !known || m.token == x.token {
		return
	}
	switch {
	case s.cookie == "":
		resp.Header.Set(s.header, m.token)
	case s.secure == "auto" && x.req.Target.Scheme == "https":
		resp.Header.AddID(stream.SetCookie, m.secure)
	default:
		resp.Header.AddID(stream.SetCookie, m.plain)
	}
}
