package headers

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequest(t *testing.T) {
	for _, c := range []struct{ name, settings, in, want string }{
		{"add", "add: [{name: X-A, value: '2'}]", "X-A: 1|Accept: */*", "X-A: 1|Accept: */*|X-A: 2"},
		{"add an empty value", "add: [{name: X-A}]", "", "X-A: "},
		{"set", "set: [{name: X-A, value: '2'}]", "x-a: 1|Accept: */*|X-A: 1", "Accept: */*|X-A: 2"},
		{"set a well-known name", "set: [{name: accept, value: text/html}]", "Accept: */*|ACCEPT: a/b", "accept: text/html"},
		{"set keeps no other spelling (Caddy CVE-2026-30851)", "set: [{name: X-User, value: me}]",
			"X_User: you|x.user: you|X-Users: us", "X-Users: us|X-User: me"},
		{"remove", "remove: [x-a, Accept]", "X-A: 1|X-B: 2|Accept: */*|X_A: 3", "X-B: 2"},
		{"remove what is not there", "remove: [X-A]", "X-B: 2", "X-B: 2"},
		{"remove a beginning", `remove: ["X-Debug-*"]`, "X-Debug: 1|x-debug-a: 2|X-DEBUG-B: 3|X_Debug_C: 4|X-Debug-: 5", "X-Debug: 1"},
		{"remove a beginning of well-known names", `remove: ["Accept*"]`, "Accept: 1|Accept-Encoding: 2|Age: 3", "Age: 3"},
		{"remove a beginning without what Weir wrote", `remove: ["X-*"]`,
			"X-Forwarded-For: 1|X-Real-IP: 2|X-Request-Id: 3|X-A: 4", "X-Forwarded-For: 1|X-Real-IP: 2|X-Request-Id: 3"},
		{"remove comes first, then set, then add",
			"{add: [{name: X-A, value: '3'}], set: [{name: X-A, value: '2'}], remove: [X-A]}", "X-A: 1", "X-A: 2|X-A: 3"},
		{"values are literal (Caddy CVE-2026-30852)", "set: [{name: X-A, value: '{env.HOME} ${HOME} {{.}} %h'}]", "",
			"X-A: {env.HOME} ${HOME} {{.}} %h"},
		{"a name that Weir does not write", "set: [{name: X-Forwarded-Prefix, value: /shop}]",
			"X-Forwarded-Prefix: /", "X-Forwarded-Prefix: /shop"},
	} {
		req := filtertest.Request("GET", "http://h/", split(c.in)...)
		out := filtertest.Run(t, Definition(), "request:\n  "+c.settings, req, nil)
		if got := strings.Join(filtertest.Lines(&out.Sent.Header), "|"); got != c.want {
			t.Errorf("%s: sent %q, want %q", c.name, got, c.want)
		}
		if out.Status != 200 || out.Body != "ok" || out.Header.Len() != 0 {
			t.Errorf("%s: the response is changed: %+v", c.name, out)
		}
	}
}

func TestResponse(t *testing.T) {
	for _, c := range []struct{ name, settings, in, want string }{
		{"add", "add: [{name: Link, value: </a>}]", "Link: </b>", "Link: </b>|Link: </a>"},
		{"set", "set: [{name: server, value: s}]", "Server: x|Server: y|Age: 1", "Age: 1|server: s"},
		{"remove", "remove: [server, 'X-Powered-*']", "Server: x|x-powered-by: y|Age: 1", "Age: 1"},
		{"other spellings are other names to a client", "remove: [X-A]", "X_A: 1|X-a: 2", "X_A: 1"},
		{"a beginning reaches all", "remove: ['X-*']", "X-Forwarded-For: 1|X-Request-Id: 2", ""},
		{"a name that requests must not have", "set: [{name: X-Request-Id, value: a}]", "", "X-Request-Id: a"},
	} {
		next := filtertest.Answer(503, "body", split(c.in)...)
		req := filtertest.Request("GET", "http://h/", "Server: client")
		out := filtertest.Run(t, Definition(), "response:\n  "+c.settings, req, next)
		if got := strings.Join(filtertest.Lines(&out.Header), "|"); got != c.want || out.Status != 503 || out.Body != "body" {
			t.Errorf("%s: %d %q, want %q", c.name, out.Status, got, c.want)
		}
		if got := strings.Join(filtertest.Lines(&out.Sent.Header), "|"); got != "Server: client" {
			t.Errorf("%s: the request is changed: %q", c.name, got)
		}
	}
}

func TestFaultPasses(t *testing.T) {
	out := filtertest.Run(t, Definition(), "response: {add: [{name: X-A, value: a}]}",
		filtertest.WithBody(filtertest.Request("POST", "http://h/"), "x"), filtertest.Fail(stream.ConnectRefused))
	if out.Fault == nil || out.Fault.Kind != stream.ConnectRefused {
		t.Errorf("outcome %+v", out)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ settings, what string }{
		{"request: {set: [{name: Connection, value: close}]}", `"Connection" belongs to a connection`},
		{"response: {add: [{name: content-length, value: '1'}]}", `"content-length" belongs to a connection`},
		{"response: {remove: [Transfer-Encoding]}", `"Transfer-Encoding" belongs`},
		{"request: {remove: [Upgrade, TE]}", `"Upgrade" belongs|"TE" belongs`},
		{"request: {set: [{name: host, value: h}]}", "Host cannot be changed"},
		{"request: {set: [{name: X-Forwarded-For, value: 1.2.3.4}]}", `"X-Forwarded-For" is written by Weir`},
		{"request: {set: [{name: x_forwarded_for, value: 1.2.3.4}]}", `"x_forwarded_for" is written by Weir`},
		{"request: {remove: [X-Weir-Route, forwarded]}", `"X-Weir-Route" is written|"forwarded" is written`},
		{"request: {add: [{name: 'X A', value: a}]}", `"X A" cannot be the name`},
		{"request: {add: [{name: '', value: a}]}", "name is empty"},
		{"request: {add: [{name: 'X:', value: a}]}", `"X:" cannot be the name`},
		{"request: {add: [{name: é, value: a}]}", `"é" cannot be the name`},
		{`response: {set: [{name: X-A, value: "a\r\nX-B: b"}]}`, `'\r'`},
		{`response: {set: [{name: X-A, value: "a\0"}]}`, `'\x00'`},
		{`response: {set: [{name: X-A, value: " a"}]}`, "byte 1 of the value"},
		{`response: {set: [{name: X-A, value: "a\t"}]}`, "byte 2 of the value"},
		{`response: {set: [{name: X-A, value: "é"}]}`, "cannot be sent"},
		{"response: {set: [{name: X-A, value: " + strings.Repeat("a", maxValue+1) + "}]}", "8193 bytes"},
		{"response: {remove: ['*']}", `every field`},
		{"response: {remove: ['X-*-Y']}", `"X-*-Y"`},
		{"response: {remove: ['X-**']}", `"X-**" has a "*"`},
		{"response: {remove: ['X *']}", `"X " cannot be the beginning`},
		{"response: {set: [{name: X-A, value: a}, {name: x-a, value: b}]}", `"x-a" is set twice`},
		{"response: {remove: [" + strings.Repeat("a, ", maxChanges) + "a]}", "101 changes"},
		{"request: {append: []}", "append"},
		{"request: {add: {name: a}}", ""},
		{"request: {add: [{value: a}]}", "name"},
	} {
		problems := filtertest.Check(t, Definition(), c.settings)
		wanted := strings.Split(c.what, "|")
		if problems.Errors() != len(wanted) {
			t.Errorf("%.80s: %v, want %d errors", c.settings, problems, len(wanted))
			continue
		}
		for i, what := range wanted {
			if p := problems[i]; !strings.Contains(p.What, what) || p.Pos.Line != 1 || p.Fix == "" {
				t.Errorf("%.80s: %+v, want %q at a place, with a way out", c.settings, p, what)
			}
		}
	}
}

func TestCheckWarnsOfNothing(t *testing.T) {
	problems := filtertest.Check(t, Definition(), "request: {}")
	if len(problems) != 1 || problems[0].Severity != config.Warning {
		t.Errorf("problems %v, want one warning", problems)
	}
}

// Every name of the ownership table is refused in requests, in any spelling.
func TestCheckOwnedNames(t *testing.T) {
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP", "X-Request-Id",
		"X-Forwarded-Client-Cert", "X-Client-Cert-Subject", "X-Weir-Any", "Content-Length", "Transfer-Encoding",
	} {
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")} {
			problems := filtertest.Check(t, Definition(), "request: {set: [{name: "+spelled+", value: a}]}")
			if problems.Errors() != 1 {
				t.Errorf("%s: %v, want it refused", spelled, problems)
			}
		}
	}
}

// The example of the README is a document as it stands there.
func TestReadme(t *testing.T) {
	_, rest, found := strings.Cut(Definition().Readme, "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("README.md has no yaml example")
	}
	document, problems := config.Parse("README.md", []byte(example))
	if len(problems) > 0 || len(document.Routes) != 1 || len(document.Routes[0].Filters) != 1 {
		t.Fatalf("the example: %v, %+v", problems, document)
	}
	used := document.Routes[0].Filters[0]
	report := config.NewReport("filter headers", used.Settings.At, &problems)
	settings, ok := Definition().Decode(used.Settings, nil, report).(Settings)
	if !ok || len(problems) > 0 || used.Name != Definition().Name {
		t.Fatalf("the filter %s of the example: %v", used.Name, problems)
	}
	if settings.Request.count() != 3 || settings.Response.count() != 4 {
		t.Errorf("the example decodes to %+v", settings)
	}
	for _, word := range []string{"`request`", "`response`", "`add`", "`set`", "`remove`"} {
		if !strings.Contains(Definition().Readme, word) {
			t.Errorf("README.md does not explain %s", word)
		}
	}
	for id := range framing {
		if !strings.Contains(Definition().Readme, "`"+id.String()+"`") {
			t.Errorf("README.md does not name %s, which is refused", id)
		}
	}
}

func split(lines string) []string {
	if lines == "" {
		return nil
	}
	return strings.Split(lines, "|")
}

const manySettings = `
request: {set: [{name: X-Tenant, value: shop}], remove: ["X-Debug-*", X-Internal-User]}
response: {set: [{name: Strict-Transport-Security, value: max-age=1}], remove: [Server]}`

var browserHead = []string{
	"User-Agent: x", "Accept: */*", "Accept-Language: de", "X-Tenant: other", "Cookie: a=b", "Sec-Fetch-Mode: cors",
}

// prepared is a filter behind which nothing allocates, and a request for it.
func prepared(t testing.TB) (run func()) {
	resp := filtertest.Response(200, "")
	resp.Header.Grow(8)
	next := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) { return resp, nil })
	service := filtertest.Build(t, Definition(), manySettings, next)
	head := filtertest.Header(browserHead...)
	req := filtertest.Request("GET", "http://h/")
	req.Header.Grow(16)
	return func() {
		req.Header.Reset()
		for _, f := range head.Fields() {
			req.Header.Append(f)
		}
		resp.Header.Reset()
		resp.Header.AddID(stream.Server, "x")
		if _, err := service.Serve(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAllocs(t *testing.T) {
	run := prepared(t)
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkServe(b *testing.B) {
	run := prepared(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func TestOrderOfTwo(t *testing.T) {
	env := filter.Env{}
	build := func(value string, next stream.Service) stream.Service {
		s := Settings{
			Request:  Changes{Add: []Field{{"X-A", value}}},
			Response: Changes{Add: []Field{{"X-B", value}}},
		}
		service, err := Definition().Build(s, env, next)
		if err != nil {
			t.Fatal(err)
		}
		return service
	}
	next := &filtertest.Next{}
	resp, err := build("1", build("2", next)).Serve(t.Context(), filtertest.Request("GET", "http://h/"))
	if err != nil {
		t.Fatal(err)
	}
	got := append(filtertest.Lines(&next.Got[0].Header), filtertest.Lines(&resp.Header)...)
	if want := []string{"X-A: 1", "X-A: 2", "X-B: 2", "X-B: 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
