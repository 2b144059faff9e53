package route

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry makes a route of words: hosts, paths ("=/a" exact, "/a" prefix,
// "{/a/{x}" template, "~/a.*" regex, "" none), methods.
func entry(name string, parts ...any) Entry {
	r := &snapshot.Route{Spec: config.Route{Name: name}}
	for _, part := range parts {
		switch p := part.(type) {
		case int:
			r.Spec.Priority = p
		case host:
			r.Match.Hosts = append(r.Match.Hosts, string(p))
		case path:
			r.Match.Path = p.compile()
		case method:
			r.Match.Methods = append(r.Match.Methods, string(p))
		case header:
			r.Match.Headers = append(r.Match.Headers, snapshot.Value(p))
		case cookie:
			r.Match.Cookies = append(r.Match.Cookies, snapshot.Value(p))
		case query:
			r.Match.Query = append(r.Match.Query, snapshot.Value(p))
		case netip.Prefix:
			r.Match.Clients = append(r.Match.Clients, p)
		}
	}
	return Entry{Route: r, Label: stream.Label{Name: name}}
}

type (
	host   string
	path   string
	method string
	header snapshot.Value
	cookie snapshot.Value
	query  snapshot.Value
)

func (p path) compile() snapshot.Path {
	text := string(p)
	switch {
	case text == "":
		return snapshot.Path{}
	case text[0] == '=':
		return snapshot.Path{Kind: snapshot.PathExact, Text: text[1:]}
	case text[0] == '~':
		return snapshot.Path{Kind: snapshot.PathRegex, Text: text[1:], Regex: regexp.MustCompile(text[1:])}
	case text[0] == '{':
		return template(text[1:])
	}
	return snapshot.Path{Kind: snapshot.PathPrefix, Text: text}
}

func template(text string) snapshot.Path {
	p := snapshot.Path{Kind: snapshot.PathTemplate, Text: text}
	for _, s := range strings.Split(text[1:], "/") {
		name, isName := strings.CutPrefix(s, "{")
		if !isName {
			p.Segments = append(p.Segments, snapshot.Segment{Literal: s})
			continue
		}
		name, rest := strings.CutSuffix(strings.TrimSuffix(name, "}"), "...")
		p.Segments = append(p.Segments, snapshot.Segment{Name: name, Rest: rest})
	}
	return p
}

func is(name, value string) snapshot.Value { return snapshot.Value{Name: name, Exact: &value} }

func has(name string) snapshot.Value { return snapshot.Value{Name: name} }

// request makes a request of "METHOD host path?query" and header lines
// "name: value".
func request(t testing.TB, line string, headers ...string) *stream.Request {
	t.Helper()
	words := strings.SplitN(line, " ", 3)
	target, fault := stream.ParseTarget("http", words[0], words[2], strings.TrimPrefix(words[1], "-"))
	if fault != nil {
		t.Fatalf("%s: %v", line, fault)
	}
	req := &stream.Request{Method: words[0], Target: target, Body: stream.NoBody, Conn: &stream.Conn{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// found is the name of the route that Find returns, or "".
func found(t *Table, req *stream.Request) string {
	if e := t.Find(req); e != nil {
		return e.Label.Name
	}
	return ""
}
