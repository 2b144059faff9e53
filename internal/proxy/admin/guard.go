package admin

import (
	"mime"
	"net"
	"net/http"
	"strings"
)

// guard is in front of every page.
func (s *Server) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if !s.ownHost(r.Host) {
			fail(w, r, http.StatusMisdirectedRequest, "host "+quote(r.Host)+" is not the admin's own; use 127.0.0.1, localhost or the configured address")
			return
		}
		if err := origins.Check(r); err != nil || foreign(r) {
			fail(w, r, http.StatusForbidden, "calls from pages of other origins are refused")
			return
		}
		if changes(r.Method) && !isJSON(r.Header.Get("Content-Type")) {
			fail(w, r, http.StatusUnsupportedMediaType, "send Content-Type: application/json")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// protect sets what a browser should know about every answer.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// ownHost refuses names that are not the admin's: rebinding needs a name that
// the attacker owns. Ports are not compared, because forwarding changes them.
// A browser reaches no Unix socket, and its clients send any Host.
func (s *Server) ownHost(hostport string) bool {
	if strings.HasPrefix(s.cfg.Address, unixPrefix) {
		return true
	}
	host := hostOf(hostport)
	if host == "" {
		return false
	}
	if isLoopback(host) || s.cfg.AllowRemote && net.ParseIP(host) != nil {
		return true
	}
	return strings.EqualFold(host, hostOf(s.cfg.Address))
}

// hostOf is the host without port, brackets and trailing dot.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// foreign tells whether a page of another origin makes the browser ask for
// anything but the index by a link: reading changes nothing, but a profile is
// work.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

func changes(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}
