package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/stream"
)

// TestDeadRoutesAreDead makes random routes out of a few words, so that they
// overlap much, and asks the route stage with all requests that can be made of
// these words: a route that is called dead must never be found.
func TestDeadRoutesAreDead(t *testing.T) { checkDead(t, randomRoutes, everyRequest) }

// TestDeadRoutesOfConnectionsAreDead is the same with TCP connections, CONNECT
// and gRPC calls beside each other.
func TestDeadRoutesOfConnectionsAreDead(t *testing.T) {
	checkDead(t, randomKinds, func(visit func(*stream.Request)) {
		everyConnection(visit)
		everyCall(visit)
	})
}

func checkDead(t *testing.T, write func(*rand.Rand) string, requests func(visit func(*stream.Request))) {
	t.Helper()
	dead, found := 0, 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 0))
		text := write(rng)
		compiled, problems := Compile(parsed(text, nil))
		if compiled == nil { // a conflict: nothing to find
			continue
		}
		called := map[string]bool{}
		for _, p := range problems {
			if strings.Contains(p.What, "gets no request") {
				called[p.Object] = true
				dead++
			}
		}
		var entries []route.Entry
		for _, r := range compiled.Routes {
			entries = append(entries, route.Entry{Route: r})
		}
		table := route.Build(entries)
		requests(func(req *stream.Request) {
			won := table.Find(req)
			if won == nil {
				return
			}
			found++
			if called["route "+won.Route.Spec.Name] {
				t.Fatalf("seed %d: route %s was called dead and takes %s %s:\n%s", seed, won.Route.Spec.Name, req.Method, req.Target.Host+req.Target.Path, text)
			}
		})
	}
	if dead < 100 || found < 1000 {
		t.Errorf("only %d dead routes and %d requests found: the test shows nothing", dead, found)
	}
}

func randomRoutes(rng *rand.Rand) string {
	one := func(options ...string) string { return options[rng.IntN(len(options))] }
	var b strings.Builder
	b.WriteString("listeners: [{name: public, address: \":80\"}]\nroutes:\n")
	for i := range 2 + rng.IntN(4) {
		fmt.Fprintf(&b, "  - {name: r%d, priority: %d, match: {%s %s %s %s}, respond: {}}\n", i, rng.IntN(3),
			one("", "hosts: [a.x.test],", "hosts: [a.x.test, b.x.test],", `hosts: ["*.x.test"],`, `hosts: ["*.test"],`),
			one("", `path: {prefix: "/"},`, "path: {prefix: /a},", "path: {prefix: /a/b},", "path: {exact: /a/b},", "path: {exact: /a/},",
				`path: {template: "/a/{x}"},`, `path: {template: "/{x}/{y...}"},`, `path: {template: "/a/{y...}"},`, `path: {template: "/{y...}"},`,
				`path: {regex: "/a/.*"},`, `path: {regex: "/.*"},`),
			one("", "", "methods: [GET],", "methods: [GET, POST],"),
			one("", "", "headers: [{name: x-a}],", "headers: [{name: x-a}, {name: x-b, exact: c}],", "clients: [10.0.0.0/8],", "clients: [10.1.0.0/16],"))
	}
	return b.String()
}

func everyRequest(visit func(*stream.Request)) {
	for _, host := range []string{"a.x.test", "b.x.test", "c.y.test", "other"} {
		for _, path := range []string{"/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/c", "/b", "/b/", "/b/c"} {
			for _, method := range []string{"GET", "POST", "PUT"} {
				for _, header := range []string{"", "x-a", "x-a x-b"} {
					for _, client := range []string{"10.1.0.1", "10.2.0.1", "11.0.0.1"} {
						req := &stream.Request{Method: method, Target: stream.Target{Scheme: "http", Host: host, Path: path}, Client: netip.MustParseAddr(client)}
						for _, name := range strings.Fields(header) {
							req.Header.Add(name, "c")
						}
						visit(req)
					}
				}
			}
		}
	}
}

func randomKinds(rng *rand.Rand) string {
	one := func(options ...string) string { return options[rng.IntN(len(options))] }
	var b strings.Builder
	b.WriteString("listeners: [{name: any, address: \":80\", protocol: detect}]\nclusters: [{name: h2, protocol: h2c, endpoints: [\"10.0.0.1:80\"]}, {name: app, endpoints: [\"10.0.0.2:80\"]}]\nroutes:\n")
	for i := range 2 + rng.IntN(5) {
		host := one("", "hosts: [a.x.test],", `hosts: ["*.x.test"],`)
		switch rng.IntN(3) {
		case 0:
			fmt.Fprintf(&b, "  - {name: r%d, priority: %d, protocol: tcp, match: {%s %s %s %s}, to: [{cluster: app}]}\n", i, rng.IntN(3), host,
				one("", "alpn: [h2],", "alpn: [h2, http/1.1],"), one("", "ports: [80],", "ports: [80, 81],"), one("", "clients: [10.0.0.0/8],", "clients: [10.1.0.0/16],"))
		case 1:
			fmt.Fprintf(&b, "  - {name: r%d, priority: %d, connect: {}, match: {%s %s}, to: [{cluster: app}]}\n", i, rng.IntN(3), host, one("", "headers: [{name: x-a}],"))
		case 2:
			fmt.Fprintf(&b, "  - {name: r%d, priority: %d, match: {%s %s}, to: [{cluster: h2}]}\n", i, rng.IntN(3), host,
				one("", "path: {prefix: /a.B},", "methods: [POST],", "grpc: {},", "grpc: {service: a.B},", "grpc: {service: a.B, method: C},", "grpc: {method: C},"))
		}
	}
	return b.String()
}

func everyConnection(visit func(*stream.Request)) {
	for _, host := range []string{"", "a.x.test", "b.x.test"} {
		for _, alpn := range []string{"", "h2", "http/1.1", "h2 http/1.1", "h3"} {
			for _, port := range []uint16{80, 81, 82} {
				for _, client := range []string{"10.1.0.1", "10.2.0.1", "11.0.0.1"} {
					conn := &stream.Conn{Local: netip.AddrPortFrom(netip.MustParseAddr("10.9.9.9"), port)}
					if host != "" {
						conn.Hello = &stream.Hello{ServerName: host, ALPN: strings.Fields(alpn)}
					}
					visit(&stream.Request{Proto: stream.TCP, Conn: conn, Target: stream.Target{Host: host}, Client: netip.MustParseAddr(client)})
				}
			}
		}
	}
}

func everyCall(visit func(*stream.Request)) {
	for _, host := range []string{"a.x.test", "b.x.test", "other"} {
		for _, path := range []string{"", "/", "/a.B", "/a.B/C", "/a.B/D", "/a.C/C"} {
			for _, method := range []string{"GET", "POST", "CONNECT"} {
				for _, header := range []string{"content-type", "x-a"} {
					if (path == "") != (method == "CONNECT") {
						continue
					}
					req := &stream.Request{Method: method, Conn: &stream.Conn{}, Target: stream.Target{Scheme: "http", Host: host, Path: path}}
					req.Header.Add(header, "application/grpc")
					req.GRPC = stream.GRPCOf(method, &req.Header)
					visit(req)
				}
			}
		}
	}
}
