package compile

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
)

// parsed are the inputs of one document.
func parsed(text string, previous *snapshot.Snapshot) Inputs {
	return inputs(&txtar.Archive{Files: []txtar.File{{Name: "doc.yaml", Data: []byte(text)}}}, "", previous)
}

// everything uses every part of a document at least once.
const everything = `
admin: {address: "unix:/run/weir-admin.sock"}
access_log: {to: /var/log/weir.log, format: text, template: "{client}", always: {status: [5xx]}, headers: [x-a]}
redact: {headers: [x-secret], query: [token]}
listeners:
  - name: public
    address: ":8443"
    tls:
      certificates: [{cert: {file: site.crt}, key: {env: SITE_KEY}}]
      client_certificate: {mode: optional, ca: {file: ca.pem}}
    forwarded: {trust: [10.0.0.0/8], via: weir}
    http2: {max_streams: 50}
    http3: {early_data: true}
  - {name: bytes, address: ":5432", protocol: tcp, proxy_protocol: {from: [10.0.0.0/8]}}
  - {name: packets, address: ":53", protocol: udp}
  - name: frames
    address: ":9000"
    protocol: framed
    framed: {framing: {type: length, length_bytes: 2, max: 60KiB}, host: frames.example.com, error: "ERR {reason}"}
  - {name: any, address: ":9001", protocol: detect, timeouts: {detect: 1s}}
routes:
  - name: api
    listeners: [public]
    match:
      hosts: [site.example.com]
      path: {template: "/v1/{id}/{rest...}"}
      methods: [GET]
      headers: [{name: x-a, exact: b}, {name: x-b, regex: "c+"}]
      query: [{name: q, prefix: p}]
      cookies: [{name: c, absent: true}]
      clients: [10.0.0.0/8]
    client_certificate: require
    retry: {on: [connect, 5xx], per_try: 5s}
    filters: [{guard: {realm: a, allow: [x, "y"]}}, {stamp: {set: {b: c, d: e}}}]
    rewrite: {path: "/v2/{id}/{rest...}", host: b.example.com}
    to: [{cluster: one, weight: 2}, {cluster: two}, {cluster: quic, weight: 0}]
    split: {key: "cookie:session"}
  - {name: moved, match: {path: {prefix: /old}}, redirect: {prefix: /new, status: 301}}
  - {name: early, listeners: [public], early_data: true, match: {path: {prefix: /early}}, respond: {}}
  - {name: call, match: {grpc: {service: a.B, method: C}}, retry: {on: ["grpc:unavailable"]}, to: [{cluster: calls}]}
  - {name: tunnel, listeners: [any], connect: {target: true, ports: [443, 8443], allow_private: true}, match: {hosts: [c.example.com]}, tunnel: {idle: 1m}}
  - {name: carried, protocol: tcp, match: {hosts: [d.example.com], alpn: [h2, h3], ports: [5432]}, to: [{cluster: plain}]}
  - {name: passed, protocol: tcp, passthrough: true, listeners: [public], match: {hosts: [e.example.com]}, to: [{cluster: plain}]}
  - {name: datagrams, protocol: udp, to: [{cluster: plain}]}
  - {name: framed, listeners: [frames], match: {path: {exact: /}}, to: [{cluster: lines}]}
  - {name: gone, match: {path: {regex: "/gone/.*"}}, respond: {status: 410, body: gone}}
clusters:
  - name: one
    endpoints: [{address: "10.0.0.1:443", weight: 3}, "unix:/run/app.sock"]
    tls: {ca: {file: ca.pem}, server_name: a.example.com, sans: ["spiffe://example.com/a"], certificate: {cert: {file: site.crt}, key: {file: site.key}}}
    health: {path: /health, host: a.example.com}
  - name: two
    dns: {srv: _http._tcp.example.com}
    resolver: {servers: ["10.0.0.2:53"]}
  - {name: calls, protocol: h2c, http2: {ping_interval: 30s}, endpoints: ["10.0.0.3:80"], health: {type: grpc, service: a.B}}
  - {name: plain, balance: hash, endpoints: ["10.0.0.4:80"]}
  - {name: lines, protocol: framed, framing: {delimiter: "\r\n"}, endpoints: ["10.0.0.5:80"]}
  - {name: quic, protocol: h3, tls: {}, endpoints: ["10.0.0.6:443"]}
`

func TestDeterminism(t *testing.T) {
	first, problems := Compile(parsed(everything, nil))
	if first == nil || len(problems) > 0 {
		t.Fatalf("problems:\n%s", problemText(problems))
	}
	for range 20 {
		again, _ := Compile(parsed(everything, nil))
		if again.Hash != first.Hash {
			t.Fatal("the same documents gave another hash")
		}
	}
	over, _ := Compile(parsed("# a line more\n"+everything, first))
	if over.Hash != first.Hash || over.Number != first.Number {
		t.Error("places of objects count in the hash")
	}
}

// TestHashCoversEverything changes one value at a time, and the content of
// files: each must change the hash of exactly the object that holds it.
func TestHashCoversEverything(t *testing.T) {
	base, _ := Compile(parsed(everything, nil))
	for _, c := range []struct{ old, new, changed string }{
		{"/run/weir-admin.sock", "/run/x.sock", ""},
		{"x-secret", "x-hidden", ""},
		{"address: \":8443\"", "address: \":8444\"", "listener public"},
		{"via: weir", "via: wier", "listener public"},
		{"{env: SITE_KEY}", "{file: site.key}", "listener public"},
		{"trust: [10.0.0.0/8]", "trust: [10.0.0.0/9]", "listener public"},
		{"/v1/{id}", "/v1/{id}/x", "route api"},
		{"regex: \"c+\"", "regex: \"c*\"", "route api"},
		{"allow: [x, \"y\"]", "allow: [xy]", "route api"},
		{"{b: c, d: e}", "{b: c, d: f}", "route api"},
		{"weight: 2", "weight: 4", "route api"},
		{"absent: true", "absent: false", "route api"},
		{"body: gone", "body: Gone", "route gone"},
		{"weight: 3", "weight: 5", "cluster one"},
		{"server_name: a.", "server_name: b.", "cluster one"},
		{"_http._tcp", "_https._tcp", "cluster two"},
		{"from: [10.0.0.0/8]", "from: [10.0.0.0/9]", "listener bytes"},
		{"max: 60KiB", "max: 50KiB", "listener frames"},
		{"method: C", "method: D", "route call"},
		{"alpn: [h2, h3]", "alpn: [h2]", "route carried"},
		{"[443, 8443]", "[443]", "route tunnel"},
		{"ping_interval: 30s", "ping_interval: 31s", "cluster calls"},
	} {
		text := strings.Replace(everything, c.old, c.new, 1)
		changed, problems := Compile(parsed(text, base))
		if text == everything || problems.Errors() > 0 {
			t.Fatalf("%q to %q is no good change:\n%s", c.old, c.new, problemText(problems))
		}
		if got := strings.Join(differing(base, changed), ", "); got != c.changed || changed.Number != base.Number+1 {
			t.Errorf("%q to %q changed %q, want %q; number %d", c.old, c.new, got, c.changed, changed.Number)
		}
	}
	in := parsed(everything, base)
	in.Files = func(path string) ([]byte, error) {
		content, err := testFile(path)
		if path == "ca.pem" {
			content = append(bytes.Clone(content), '\n')
		}
		return content, err
	}
	renewed, _ := Compile(in)
	if got := differing(base, renewed); !slices.Equal(got, []string{"listener public", "cluster one"}) {
		t.Errorf("another CA bundle changed %q", got)
	}
}

func differing(a, b *snapshot.Snapshot) (names []string) {
	for i, l := range a.Listeners {
		if l.Hash != b.Listeners[i].Hash {
			names = append(names, "listener "+l.Spec.Name)
		}
	}
	for i, r := range a.Routes {
		if r.Hash != b.Routes[i].Hash {
			names = append(names, "route "+r.Spec.Name)
		}
	}
	for i, k := range a.Clusters {
		if k.Hash != b.Clusters[i].Hash {
			names = append(names, "cluster "+k.Spec.Name)
		}
	}
	return names
}

// TestEveryLineMissing takes every line out of a document with all fields
// written out, one at a time, with what hangs below it.
func TestEveryLineMissing(t *testing.T) {
	base, _ := Compile(parsed(everything, nil))
	in := parsed(everything, nil)
	merged, _ := config.Merge(in.Documents...)
	full, err := config.Effective(merged)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(full), "\n"), "\n")
	if len(lines) < 150 {
		t.Fatalf("only %d lines:\n%s", len(lines), full)
	}
	for at := range lines {
		text := strings.Join(without(lines, at), "\n")
		in := parsed(text, nil)
		for _, previous := range []*snapshot.Snapshot{nil, base} {
			in.Previous = previous
			compiled, problems := Compile(in)
			checkWhole(t, fmt.Sprintf("without line %d (%s)", at+1, lines[at]), previous, compiled, problems)
		}
	}
}

// without takes a line out, and the lines indented deeper below it.
func without(lines []string, at int) []string {
	end := at + 1
	for end < len(lines) && indent(lines[end]) > indent(lines[at]) {
		end++
	}
	return slices.Concat(lines[:at], lines[end:])
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// TestBrokenReferences takes away or breaks each file that the document refers
// to: the proxy never becomes more open than it was, it keeps what it had or
// refuses.
func TestBrokenReferences(t *testing.T) {
	base, _ := Compile(parsed(everything, nil))
	for _, name := range []string{"ca.pem", "site.crt", "site.key"} {
		for what, replace := range map[string]func() ([]byte, error){
			"missing": func() ([]byte, error) { return testFile("no such file") },
			"empty":   func() ([]byte, error) { return nil, nil },
			"text":    func() ([]byte, error) { return []byte("x"), nil },
		} {
			broken := func(path string) ([]byte, error) {
				if path == name {
					return replace()
				}
				return testFile(path)
			}
			in := parsed(everything, nil)
			in.Files = broken
			if compiled, _ := Compile(in); compiled != nil {
				t.Errorf("%s %s: starts all the same", name, what)
			}
			in = parsed(everything, base)
			in.Files = broken
			compiled, problems := Compile(in)
			checkWhole(t, name+" "+what, base, compiled, problems)
			if compiled.Hash != base.Hash || len(compiled.Held) == 0 {
				t.Errorf("%s %s: the last good state did not stay; held %v", name, what, compiled.Held)
			}
		}
	}
}

// checkWhole: what holds for every outcome, whatever went in.
func checkWhole(t *testing.T, what string, previous, compiled *snapshot.Snapshot, problems config.Problems) {
	t.Helper()
	for _, p := range problems {
		if p.What == "" || p.Severity != config.Error && p.Severity != config.Warning {
			t.Errorf("%s: a problem without words: %+v", what, p)
		}
	}
	if compiled == nil {
		if previous != nil || problems.Errors() == 0 {
			t.Errorf("%s: nothing came out, with %d errors", what, problems.Errors())
		}
		return
	}
	if previous == nil && problems.Errors() > 0 {
		t.Errorf("%s: compiled in spite of errors:\n%s", what, problemText(problems))
	}
	listeners, clusters := map[string]*config.Listener{}, map[string]*config.Cluster{}
	for _, l := range compiled.Listeners {
		listeners[l.Spec.Name] = &l.Spec
		if l.TLS != nil && len(l.TLS.Certificates) == 0 {
			t.Errorf("%s: listener %s has lost its certificates", what, l.Spec.Name)
		}
		if l.TLS != nil && l.Spec.TLS.ClientCertificate.Mode != "off" && l.TLS.ClientCA.Empty() {
			t.Errorf("%s: listener %s asks for client certificates and has no CA", what, l.Spec.Name)
		}
	}
	for _, k := range compiled.Clusters {
		clusters[k.Spec.Name] = &k.Spec
		if k.TLS != nil && k.Spec.TLS.CA != nil && k.TLS.CA.Empty() {
			t.Errorf("%s: cluster %s has lost its CA", what, k.Spec.Name)
		}
	}
	for _, r := range compiled.Routes {
		if len(r.Listeners) == 0 {
			t.Errorf("%s: route %s has no listener", what, r.Spec.Name)
		}
		for _, name := range r.Listeners {
			if l := listeners[name]; l == nil {
				t.Errorf("%s: route %s refers to listener %s, which is not there", what, r.Spec.Name, name)
			} else if !speaks(l, &r.Spec) {
				t.Errorf("%s: route %s is for %s, and its listener %s has protocol %s", what, r.Spec.Name, trafficOf(&r.Spec), name, l.Protocol)
			}
		}
		for _, target := range r.Spec.To {
			if k := clusters[target.Cluster]; k == nil {
				t.Errorf("%s: route %s refers to cluster %s, which is not there", what, r.Spec.Name, target.Cluster)
			} else if wrong := misfitOf(&r.Spec, "", k); wrong != nil {
				t.Errorf("%s: route %s does not go with cluster %s, which %s", what, r.Spec.Name, target.Cluster, wrong.what)
			}
		}
	}
}

// FuzzCompile: whatever documents say, before and after, nothing panics and
// the outcome is whole.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(section(archive, "doc.yaml"), everything)
		f.Add(everything, section(archive, "doc.yaml"))
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		base, problems := Compile(parsed(before, nil))
		checkWhole(t, "before", nil, base, problems)
		compiled, problems := Compile(parsed(after, base))
		checkWhole(t, "after", base, compiled, problems)
	})
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		text := strings.Builder{}
		text.WriteString("listeners: [{name: public, address: \":80\"}]\nclusters: [{name: app, endpoints: [\"10.0.0.1:80\"]}]\nroutes:\n")
		for i := range n {
			fmt.Fprintf(&text, "  - {name: r%d, priority: %d, match: {hosts: [h%d.example.com], path: {prefix: /p%d}}, to: [{cluster: app}]}\n", i, i, i%100, i)
		}
		in := parsed(text.String(), nil)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			for b.Loop() {
				if s, problems := Compile(in); s == nil {
					b.Fatal(problemText(problems[:1]))
				}
			}
		})
	}
}
