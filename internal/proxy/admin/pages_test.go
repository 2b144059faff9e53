package admin

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/weirproxy/weir/config"
)

func TestLiveAndReady(t *testing.T) {
	f := &fake{notReady: errors.New("no configuration serves yet")}
	s := newServer(f)
	expect(t, call(s, "GET", "/live"), 200, "live")
	expect(t, call(s, "GET", "/ready"), 503, "not ready: no configuration serves yet")
	f.notReady = nil
	expect(t, call(s, "GET", "/ready"), 200, "ready")
	expect(t, call(s, "HEAD", "/ready"), 200)
	f.notReady = errors.New("draining")
	expect(t, call(s, "GET", "/ready"), 503, "draining")
}

func TestPages(t *testing.T) {
	s := newServer(&fake{})
	for target, parts := range map[string][]string{
		"/metrics":              {"weir_requests_total 1"},
		"/snapshot":             {`"number":7`, `"exact":"[redacted]"`, `"Authorization":"[redacted]"`},
		"/snapshot?format=text": {"{\n  \"", `"number": 7`},
		"/routes":               {`"name":"payments"`, `"timeout":"15s"`, `"held":"line\nbreak`},
		"/routes?format=text":   {"ROUTE", "payments", "public", "payments-v1 (95), payments-v2 (5)", "15s", "weir.yaml:8:3", "line\ufffdbreak \ufffd[31m"},
		"/clusters":             {`"address":"10.0.0.1:8080"`, `"health":"ejected"`, `"until":"2026-05-01T12:00:30Z"`, `"horizon":"55s"`, `"in_flight":2`},
		"/clusters?format=text": {"payments-v1  balance least_request, requests 3 of 1024, connections 9, retries 12 of 20 left", "ejected until 12:00:30", "55s", "held: cluster empty has no endpoints"},
		"/events":               {`"event":"ejected"`, `"cause":"latency"`, `"until":"2026-05-01T12:00:30Z"`},
		"/events?cluster=payments-v1&format=text": {"ENDPOINT", "10.0.0.1:8080", "answers take 2s\ufffd", "12:00:30"},
		"/connections":              {`"open":2`, `"age":"1m30.000000001s"`, `"tls":"1.3"`},
		"/connections?format=text":  {"2 open, 2 shown", "203.0.113.9:5000", "1m30s", "pay.example.com", "CN=shop"},
		"/connections?limit=1":      {`"open":2,"shown":[{"id":17`},
		"/overload":                 {`"name":"memory","used":500000000`, `"reset":3`, `"held":32768`},
		"/overload?format=text":     {"memory", "5e+08", "shorten tighten", "192.0.2.7\ufffd", "1000000"},
		"/debug/pprof/":             {"goroutine"},
		"/debug/pprof/heap?debug=1": {"heap profile"},
		"/debug/pprof/cmdline":      {"admin.test"},
	} {
		t.Run(target, func(t *testing.T) {
			answer := call(s, "GET", target)
			expect(t, answer, 200, parts...)
			if !strings.HasPrefix(target, "/debug") && target != "/metrics" {
				checkForm(t, answer.Header().Get("Content-Type"), answer.Body.String())
			}
		})
	}
	if body := call(s, "GET", "/connections?limit=1").Body.String(); strings.Contains(body, `"id":18`) {
		t.Error("limit=1 shows two connections")
	}
	for _, limit := range []string{"0", "-1", "x", "1000000"} {
		expect(t, call(s, "GET", "/connections?limit="+limit), 400, "is not a number from 1 to 10000")
	}
}

// checkForm: JSON reads back; text has nothing that a terminal obeys.
func checkForm(t *testing.T, contentType, body string) {
	t.Helper()
	if contentType == "application/json" {
		if !json.Valid([]byte(body)) {
			t.Errorf("not JSON: %s", body)
		}
		return
	}
	for _, r := range body {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q is on the page", r)
		}
	}
}

func TestEventsOfNoCluster(t *testing.T) {
	expect(t, call(newServer(&fake{}), "GET", "/events?cluster=none"), 404, `there is no cluster \"none\"`)
}

func TestNegotiation(t *testing.T) {
	s := newServer(&fake{})
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json",
		"text/plain": "text/plain; charset=utf-8", "text/html,application/xhtml+xml,*/*;q=0.8": "text/plain; charset=utf-8",
		"text/plain, application/json": "application/json",
	} {
		if got := call(s, "GET", "/routes", "Accept", accept).Header().Get("Content-Type"); got != want {
			t.Errorf("Accept %q gets %s, want %s", accept, got, want)
		}
	}
	if got := call(s, "GET", "/routes?format=json", "Accept", "text/plain").Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("format=json gets %s", got)
	}
}

func TestIndex(t *testing.T) {
	answer := call(newServer(&fake{}), "GET", "/")
	expect(t, answer, 200, "Weir v1 &lt;b&gt;", `<a href="/routes?format=text">/routes</a>`, "POST /reload", "&amp;format=text")
	if got := answer.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("the index is %s", got)
	}
	expect(t, call(newServer(&fake{}), "GET", "/<script>"), 404)
}

func TestExplain(t *testing.T) {
	f := &fake{}
	s := newServer(f)
	answer := call(s, "GET", "/explain?method=POST&url=https://a.example/x%3Ftoken=1&header=X-Tenant:%20acme&header=Cookie:c=d&client=192.0.2.1")
	expect(t, answer, 200, `"route":"payments"`)
	want := Question{Method: "POST", URL: "https://a.example/x?token=1", Client: "192.0.2.1", Header: [][2]string{{"X-Tenant", "acme"}, {"Cookie", "c=d"}}}
	if f.asked.Method != want.Method || f.asked.URL != want.URL || f.asked.Client != want.Client || len(f.asked.Header) != 2 || f.asked.Header[0] != want.Header[0] || f.asked.Header[1] != want.Header[1] {
		t.Errorf("asked %+v, want %+v", f.asked, want)
	}
	expect(t, call(s, "GET", "/explain?url=http://a/&format=text"), 200, "route payments\n  X-Api-Key: [redacted]\n")
	if f.asked.Method != "GET" {
		t.Errorf("the method is %q, want GET when none is given", f.asked.Method)
	}
	expect(t, call(s, "GET", "/explain"), 400, "url is missing")
	expect(t, call(s, "GET", "/explain?url=http://a/&header=nonsense"), 400, "not of the form")
	expect(t, call(s, "GET", "/explain?method=BAD&url=http://a/?token="+planted), 400, "BAD", "[redacted]")
}

func TestReload(t *testing.T) {
	f := &fake{reload: ReloadResult{Changed: true, Snapshot: 8}}
	s := newServer(f)
	expect(t, call(s, "POST", "/reload"), 200, `"changed":true,"snapshot":8`)
	expect(t, call(s, "POST", "/reload?format=text"), 200, "snapshot 8 serves")
	f.reload = ReloadResult{Snapshot: 8, Held: []string{"route payments"}, Problems: config.Problems{{
		Pos: config.Pos{File: "weir.yaml", Line: 3, Col: 5}, Severity: config.Error, What: `unknown cluster "x"`, Fix: "name one that exists",
	}}}
	expect(t, call(s, "POST", "/reload"), 422, `"line":3`, `"held":["route payments"]`)
	expect(t, call(s, "POST", "/reload", "Accept", "text/plain"), 422, `weir.yaml:3:5: unknown cluster "x"; name one that exists`, "route payments keeps its last good version", "nothing has changed")
	f.failed = errors.New("address is taken")
	expect(t, call(s, "POST", "/reload"), 422, `"error":"address is taken"`)
	expect(t, call(s, "POST", "/reload?format=text"), 422, "not applied: address is taken; snapshot 8 stays")
	if f.reloads != 6 {
		t.Errorf("%d reloads, want 6", f.reloads)
	}
}

func TestMissingViews(t *testing.T) {
	s := New(Config{Address: "127.0.0.1:9901"})
	for _, path := range []string{"/metrics", "/snapshot", "/routes", "/clusters", "/connections", "/explain"} {
		expect(t, call(s, "GET", path), 404)
	}
	expect(t, call(s, "POST", "/reload"), 404)
	expect(t, call(s, "GET", "/ready"), 200)
}

// TestCanary: no page shows what the documents declare secret.
func TestCanary(t *testing.T) {
	s := newServer(&fake{})
	for _, format := range []string{"json", "text"} {
		for _, page := range []string{"/snapshot?", "/routes?", "/clusters?", "/connections?", "/explain?url=http://a/%3Ftoken=" + planted + "&header=Authorization:" + planted + "&header=x-api-key:" + planted + "&"} {
			body := call(s, "GET", page+"format="+format).Body.String()
			if strings.Contains(body, planted) {
				t.Errorf("%s in %s shows a secret: %s", page, format, body)
			}
			if page != "/connections?" && !strings.Contains(body, redactMark) {
				t.Errorf("%s in %s: nothing was planted: %s", page, format, body)
			}
		}
	}
}

const redactMark = "[redacted]"

// TestDocs: every page stands in docs/admin.md.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if !strings.Contains(string(doc), "| `"+p.pattern+"` | "+p.what+" |") {
			t.Errorf("docs/admin.md has no row\n| `%s` | %s |", p.pattern, p.what)
		}
	}
}
