package route

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// issue gives clients that come without one a random value for the cookie that a
// split goes by. The request goes on as if it had come with it, so that what
// stands behind, the upstream included, sees no difference between the first
// request of a client and the next.
type issue struct {
	next   stream.Service
	key    requestkey.Key
	name   string
	behind string // what stands behind the value in Set-Cookie
	secure string // of the document
	issued Counter
}

// NewIssue puts the issuing of cookies in front of next. key is in the words of
// the document and names a cookie; else the document has a defect.
func NewIssue(next stream.Service, key string, spec *config.SplitCookie, issued Counter) (stream.Service, error) {
	name, isCookie := strings.CutPrefix(key, "cookie:")
	parsed, err := requestkey.Parse(key)
	if err != nil || !isCookie {
		return nil, fmt.Errorf("split: a value can be issued in a cookie only, and the key is %q", key)
	}
	return &issue{next: next, key: parsed, name: name, behind: splitCookie(spec), secure: spec.Secure, issued: issued}, nil
}

func splitCookie(spec *config.SplitCookie) string {
	var text strings.Builder
	fmt.Fprintf(&text, "; Path=%s; Max-Age=%d; HttpOnly", spec.Path, max(int64(time.Duration(spec.TTL)/time.Second), 1))
	switch spec.SameSite {
	case "strict":
		text.WriteString("; SameSite=Strict")
	case "none":
		text.WriteString("; SameSite=None")
	default:
		text.WriteString("; SameSite=Lax")
	}
	return text.String()
}

// Serve implements stream.Service.
func (s *issue) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if value, ok := s.key.Of(req); ok && value != "" {
		return s.next.Serve(ctx, req)
	}
	cookie := s.name + "=" + rand.Text()
	add(&req.Header, cookie)
	resp, err := s.next.Serve(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.issued != nil {
		s.issued.Add(1)
	}
	line := cookie + s.behind
	if s.secure == "always" || s.secure == "auto" && req.Target.Scheme == "https" {
		line += "; Secure"
	}
	resp.Header.AddID(stream.SetCookie, line)
	return resp, nil
}

// add puts a cookie in front of those that are there: the first of a name counts,
// and one without a value may be there.
func add(h *stream.Header, cookie string) {
	var room [4]string
	all := append(room[:0], cookie)
	h.SetID(stream.Cookie, strings.Join(h.Values(all, "Cookie"), "; "))
}
