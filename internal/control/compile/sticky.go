package compile

import (
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// checkSticky: one carrier, which a client keeps.
func checkSticky(s *config.Sticky, r *config.Report) {
	switch {
	case s.Cookie == nil && s.Header == "":
		r.Errorf("", "write cookie: {}, or header: NAME", "sticky says nothing that carries the endpoint")
	case s.Cookie != nil && s.Header != "":
		r.Errorf("header", "keep one", "sticky has a cookie and a header")
	case s.Header != "" && !stream.IsToken(s.Header):
		r.Errorf("header", "write a name such as X-Session-Endpoint", "%q is no name of a field", s.Header)
	}
	if s.Cookie == nil {
		return
	}
	c := s.Cookie
	if c.Name != "" && !stream.IsToken(c.Name) {
		r.Errorf("cookie.name", "write letters, digits and -", "%q is no name of a cookie", c.Name)
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, ";\r\n\t \"") {
		r.Errorf("cookie.path", "write a path such as /", "path %q cannot stand in a cookie", c.Path)
	}
	if c.SameSite == "none" && c.Secure != "always" {
		r.Errorf("cookie.same_site", "write secure: always", "browsers drop a cookie with same_site none that is not secure")
	}
}
