package route

import (
	"context"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// body tells whether it was closed.
type body struct {
	stream.Body
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

// answers is a service that answers with a status.
func answers(status int) stream.Service {
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return &stream.Response{Status: status, Body: stream.NoBody}, nil
	})
}

// serve calls s and checks what every Service owes: one of response and fault,
// and a closed body.
func serve(t *testing.T, s stream.Service, req *stream.Request) (*stream.Response, *stream.Fault) {
	t.Helper()
	b := &body{Body: stream.NoBody}
	req.Body = b
	resp, err := s.Serve(context.Background(), req)
	if !b.closed {
		t.Error("the body of the request is not closed")
	}
	if (resp == nil) == (err == nil) {
		t.Fatalf("response %v and error %v", resp, err)
	}
	if err == nil {
		return resp, nil
	}
	return nil, err.(*stream.Fault)
}

func TestRouter(t *testing.T) {
	one := entry("one", host("a.example.com"))
	one.Service, one.Label.Handle = answers(201), 7
	r := NewRouter(Build([]Entry{one}))

	req := request(t, "GET a.example.com /")
	if resp, _ := serve(t, r, req); resp == nil || resp.Status != 201 || req.Exchange.Route != one.Label {
		t.Errorf("response %+v, route %+v", resp, req.Exchange.Route)
	}
	req = request(t, "GET b.example.com /")
	if _, fault := serve(t, r, req); fault == nil || fault.Kind != stream.NoRoute || req.Exchange.Route != (stream.Label{}) {
		t.Errorf("fault %v, route %+v", fault, req.Exchange.Route)
	}
	if n := r.Stats().NoRoute.Load(); n != 1 {
		t.Errorf("NoRoute counts %d", n)
	}
	two := entry("two")
	two.Service = answers(202)
	r.Swap(r.Table().With([]Entry{two}, []string{"one"}))
	if resp, _ := serve(t, r, req); resp == nil || resp.Status != 202 {
		t.Errorf("after Swap: %+v", resp)
	}
}

// TestClientCertificateIsJudgedByTheRoute is threats.md section 6, "mTLS policy
// picked by a different name than routing": server name {exact, other, absent}
// by Host by certificate.
func TestClientCertificateIsJudgedByTheRoute(t *testing.T) {
	identity := &stream.Identity{Subject: "CN=client"}
	cases := []struct {
		name string
		line string
		tls  *stream.TLS
		want stream.Kind
		ok   bool
	}{
		{"in the clear", "GET mtls.example.com /", nil, stream.Forbidden, false},
		{"certificate and name", "GET mtls.example.com /", &stream.TLS{ServerName: "mtls.example.com", Client: identity}, 0, true},
		{"Host in another case, with port and dot", "GET MTLS.Example.com.:8443 /", &stream.TLS{ServerName: "mtls.example.com", Client: identity}, 0, true},
		{"no certificate", "GET mtls.example.com /", &stream.TLS{ServerName: "mtls.example.com"}, stream.Misdirected, false},
		{"shaken hands for another name", "GET mtls.example.com /", &stream.TLS{ServerName: "open.example.com", Client: identity}, stream.Misdirected, false},
		{"both names under one wildcard", "GET mtls.example.com /", &stream.TLS{ServerName: "x.example.com", Client: identity}, stream.Misdirected, false},
		{"no server name", "GET mtls.example.com /", &stream.TLS{Client: identity}, stream.Misdirected, false},
		{"no server name, no Host", "GET - /mtls", &stream.TLS{Client: identity}, stream.Misdirected, false},
		{"an address has no server name", "GET 192.0.2.1:8443 /mtls", &stream.TLS{Client: identity}, 0, true},
		{"an IPv6 address", "GET [2001:db8::1] /mtls", &stream.TLS{Client: identity}, 0, true},
		{"an address without a certificate", "GET 192.0.2.1 /mtls", &stream.TLS{}, stream.Misdirected, false},
		{"a route without the condition", "GET open.example.com /", nil, 0, true},
	}
	byHost, byPath, open := entry("host", host("mtls.example.com")), entry("path", path("/mtls")), entry("open", host("open.example.com"))
	for _, e := range []Entry{byHost, byPath} {
		e.Route.Spec.ClientCertificate = "require"
	}
	open.Route.Spec.ClientCertificate = "any"
	entries := []Entry{byHost, byPath, open}
	for i := range entries {
		entries[i].Service = answers(200)
	}
	r := NewRouter(Build(entries))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			req := request(t, c.line)
			req.Conn.TLS = c.tls
			resp, fault := serve(t, r, req)
			switch {
			case c.ok && resp == nil:
				t.Errorf("refused: %v", fault)
			case !c.ok && (fault == nil || fault.Kind != c.want):
				t.Errorf("response %v, fault %v, want %v", resp, fault, c.want)
			case req.Exchange.Route.Name == "":
				t.Error("the log would not know the route")
			}
		})
	}
	if forbidden, misdirected := r.Stats().Forbidden.Load(), r.Stats().Misdirected.Load(); forbidden != 1 || misdirected != 6 {
		t.Errorf("counted %d forbidden and %d misdirected", forbidden, misdirected)
	}
}

func TestAllocsServe(t *testing.T) {
	e := entry("r", host("h"), path("/a"))
	e.Service = stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return nil, nil })
	r, req, ctx := NewRouter(Build([]Entry{e})), request(t, "GET h /a/b"), context.Background()
	if n := testing.AllocsPerRun(100, func() { r.Serve(ctx, req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
