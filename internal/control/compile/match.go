package compile

import (
	"slices"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func match(spec *config.Match, r *config.Report) snapshot.Match {
	m := snapshot.Match{
		Hosts:   hosts(spec.Hosts, r),
		Path:    pathMatch(&spec.Path, r.Below("path")),
		Methods: methods(spec.Methods, "methods", r),
		Headers: values(spec.Headers, "headers", r, checkHeaderName),
		Query:   values(spec.Query, "query", r, checkQueryName),
		Cookies: values(spec.Cookies, "cookies", r, checkCookieName),
		Clients: prefixes(r, "clients", spec.Clients),
		Geo:     spec.Geo,
		ALPN:    spec.ALPN,
		Ports:   checkPorts(spec.Ports, "ports", r),
	}
	if at := slices.Index(spec.Methods, "CONNECT"); at >= 0 {
		r.Errorf(index("methods", at), "make a route of its own for it, with connect: {}", "CONNECT is not matched by methods: it opens a tunnel")
	}
	for i, name := range spec.ALPN {
		if name == "" || len(name) > maxALPN {
			r.Errorf(index("alpn", i), "write for example h2 or http/1.1", "%q is no name of a protocol in ALPN", name)
		}
	}
	if spec.GRPC != nil {
		matchGRPC(spec, &m, r)
	}
	return m
}

// maxALPN is the longest name (RFC 7301 section 3.1).
const maxALPN = 255

func methods(texts []string, path string, r *config.Report) []string {
	for i, method := range texts {
		switch upper := strings.ToUpper(method); {
		case !stream.IsToken(method):
			r.Errorf(index(path, i), "write GET, POST, ...", "%q is no method", method)
		case upper != method:
			r.Errorf(index(path, i), "write "+upper, "method %q is not in upper case: methods are compared letter by letter", method)
		}
	}
	return texts
}

// checkHeaderName also refuses fields that the codec takes out of a request and turns into
// facts: a condition on them never sees a value.
func checkHeaderName(name, path string, r *config.Report) {
	checkToken(r, path, "header name", name)
	switch {
	case equalAny(name, stream.Host):
		r.Errorf(path, "use match.hosts", "the Host header is not matched by headers")
	case equalAny(name, stream.Cookie):
		r.Warnf(path, "use match.cookies", "the Cookie header holds all cookies in any order")
	case equalAny(name, stream.Connection, stream.KeepAlive, stream.ProxyConnection, stream.TE, stream.Trailer,
		stream.TransferEncoding, stream.Upgrade, stream.ContentLength, stream.Expect, stream.HTTP2Settings):
		r.Errorf(path, "match on something else", "%s belongs to the connection and is not seen by routes", name)
	}
}

func checkQueryName(name, path string, r *config.Report) {
	if name == "" {
		r.Errorf(path, "write the name of a parameter", "the name is empty")
	}
}

func checkCookieName(name, path string, r *config.Report) {
	checkToken(r, path, "cookie name", name)
}

func checkClaimName(name, path string, r *config.Report) {
	if _, err := stream.ParseClaimName(name); err != nil {
		r.Errorf(path, "", "%v", err)
	}
}

func values(specs []config.ValueMatch, list string, r *config.Report, checkName func(name, path string, r *config.Report)) []snapshot.Value {
	var compiled []snapshot.Value
	for i := range specs {
		spec := &specs[i]
		below := r.Below(index(list, i))
		checkName(spec.Name, "name", below)
		compiled = append(compiled, value(spec, below))
	}
	return compiled
}

func value(spec *config.ValueMatch, r *config.Report) snapshot.Value {
	v := snapshot.Value{Name: spec.Name, Exact: spec.Exact, Prefix: spec.Prefix, Absent: spec.Absent, Not: spec.Not}
	conditions := 0
	for _, set := range []bool{spec.Exact != nil, spec.Prefix != nil, spec.Regex != nil, spec.Absent} {
		if set {
			conditions++
		}
	}
	if conditions > 1 {
		r.Errorf("", "keep one, or write two entries: all of them must hold", "%q has %d of exact, prefix, regex and absent", spec.Name, conditions)
	}
	if spec.Absent && spec.Not {
		r.Warnf("not", "write the name alone: it holds when the name is there", "%q: not absent is present", spec.Name)
	}
	if spec.Prefix != nil && *spec.Prefix == "" {
		r.Warnf("prefix", "write the name alone", "%q: every value has the empty prefix", spec.Name)
	}
	if spec.Regex != nil {
		v.Regex = regex(*spec.Regex, "regex", r)
	}
	return v
}
