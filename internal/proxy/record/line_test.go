package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/logline"
	"github.com/weirproxy/weir/stream"
)

// lines is what a recorder of cfg writes for the given exchanges.
func lines(t testing.TB, cfg Config, reqs ...*stream.Request) []string {
	t.Helper()
	var out pipe
	cfg.Stdout = &out
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range reqs {
		req.Exchange.Route, req.Exchange.Cluster = r.RouteLabel("payments"), r.ClusterLabel("payments-v1")
		r.Done(req)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	list := strings.Split(out.text(), "\n")
	if last := len(list) - 1; list[last] != "" {
		t.Fatalf("the last line is torn: %s", list[last])
	}
	return list[:len(list)-1]
}

func parse(t testing.TB, line string) map[string]any {
	t.Helper()
	var record map[string]any
	if err := json.Unmarshal([]byte(line), &record); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return record
}

// full is an exchange in which every field has a value.
func full() *stream.Request {
	req := exchange(nil)
	req.Exchange.Fault = &stream.Fault{Kind: stream.ConnectRefused, Limit: "max_requests", Cause: errors.New("dial 10.0.0.1:8080: connection refused")}
	return req
}

func TestJSON(t *testing.T) {
	cfg := toStdout(nil)
	cfg.AccessLog.Headers = []string{"X-Tenant", "Authorization", "X-Absent"}
	req := full()
	req.Header.Add("x-tenant", "second")
	req.Header.Add("authorization", "Bearer s3cret")
	got := parse(t, lines(t, cfg, req)[0])
	want := map[string]any{
		"time": "2026-05-01T12:00:00.123Z", "id": "01HZX5T2M4Q8", "listener": "public",
		"route": "payments", "cluster": "payments-v1", "endpoint": "10.0.0.1:8080",
		"client": "203.0.113.9", "peer": "192.0.2.7:51234",
		"method": "GET", "scheme": "https", "host": "pay.example.com", "path": "/v1/orders/17",
		"query": "page=2&token=[redacted]", "protocol": "HTTP/1.1", "status": 200.0,
		"fault": "connect_refused", "fault_origin": "upstream", "fault_limit": "max_requests",
		"fault_cause": "dial 10.0.0.1:8080: connection refused",
		"attempts":    2.0, "retry_refused": "budget", "reused": true, "upstream_status": 200.0,
		"bytes_in": 10.0, "bytes_out": 100.0,
		"duration_ms": 7.0, "proxy_ms": 0.5, "upstream_ms": 4.8, "upstream_head_ms": 3.8,
		"tls_version": "1.3", "server_name": "pay.example.com", "identity": "spiffe://example.com/shop",
		"user_agent": "curl/8.5.0",
		"headers":    map[string]any{"x-tenant": "acme, second", "authorization": "[redacted]"},
	}
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("unexpected fields: %v", got)
	}
}

// TestPeerIPv6: the address and the port stay apart; a zone, which is free text, is left out.
func TestPeerIPv6(t *testing.T) {
	req := full()
	conn := *req.Conn
	conn.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:51234")
	req.Conn = &conn
	if got := parse(t, lines(t, toStdout(nil), req)[0])["peer"]; got != "[fe80::1]:51234" {
		t.Errorf("peer %v", got)
	}
}

// TestEveryField fails when a field is added to logline and has no value here,
// or another form than its table says.
func TestEveryField(t *testing.T) {
	req := full()
	req.GRPC, req.Target.Path, req.Exchange.GRPCStatus = stream.GRPCCall, "/shop.Orders/Get", 15
	req.Exchange.Copy = "answered"
	record := parse(t, lines(t, toStdout(nil), req)[0])
	for f := range logline.NumFields {
		var ok bool
		switch v := record[f.String()]; f.Form() {
		case logline.String:
			_, ok = v.(string)
		case logline.Integer, logline.Millis:
			_, ok = v.(float64)
		case logline.Boolean:
			_, ok = v.(bool)
		}
		if !ok {
			t.Errorf("%s is %v, want a %s", f, record[f.String()], f.Form())
		}
	}
}

// TestNothingHappened is the record of a connection that sent garbage.
func TestNothingHappened(t *testing.T) {
	req := &stream.Request{Conn: &stream.Conn{}}
	req.Exchange = stream.Exchange{Start: start, End: start.Add(time.Second), Fault: &stream.Fault{Kind: stream.RequestMalformed, Cause: errors.New("s3cret")}}
	var out pipe
	r := newRecorder(t, toStdout(&out))
	r.Done(req)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-05-01T12:00:00.123Z","status":0,"fault":"request_malformed","fault_origin":"downstream",` +
		`"attempts":0,"bytes_in":0,"bytes_out":0,"duration_ms":1000.000,"proxy_ms":0.000}` + "\n"
	if got := out.text(); got != want {
		t.Errorf("got  %s want %s", got, want)
	}
}

func TestReceivedTarget(t *testing.T) {
	req := full()
	req.Exchange.Received = req.Target
	req.Target = stream.Target{Path: "/rewritten"}
	if got := parse(t, lines(t, toStdout(nil), req)[0])["path"]; got != "/v1/orders/17" {
		t.Errorf("path is %v, want that of the client", got)
	}
}

func TestText(t *testing.T) {
	cfg := toStdout(nil)
	cfg.AccessLog.Format = "text"
	cfg.AccessLog.Template = `{client} {identity} [{time}] "{method} {path}?{query}" {status} {duration_ms} {reused} {header:X-Tenant} {header:Cookie} {header:X-Absent} {fault}`
	req := exchange(nil)
	req.Header.Add("Cookie", "session=s3cret")
	want := `203.0.113.9 spiffe://example.com/shop [2026-05-01T12:00:00.123Z] "GET /v1/orders/17?page=2&token=[redacted]" 200 7.000 true acme [redacted] - -`
	if got := lines(t, cfg, req)[0]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cfg.AccessLog.Template = ""
	if got := lines(t, cfg, exchange(nil))[0]; !strings.HasPrefix(got, `203.0.113.9 - spiffe://example.com/shop [2026-05-01T12:00:00.123Z] "GET /v1/orders/17 HTTP/1.1" 200 100 "-" "curl/8.5.0" id=01HZX5T2M4Q8 `) {
		t.Errorf("the default template gives %s", got)
	}
}

// TestInjection is threats.md section 8: whatever a peer sends, a record is
// one line and reads back.
func TestInjection(t *testing.T) {
	evil := []string{
		"a\r\n{\"status\":200}", "\x1b[2J\x1b]0;owned\a", `","status":200,"x":"`, "\u2028\u0085\u009b31m", "\xff\xfe\x00",
		"<script>alert(1)</script>", `\`, strings.Repeat("\x01", 20_000),
	}
	for _, format := range []string{"json", "text"} {
		cfg := toStdout(nil)
		cfg.AccessLog.Format = format
		cfg.AccessLog.Headers = []string{"X-Tenant"}
		cfg.AccessLog.Template = everyField() + " {header:X-Tenant}"
		var reqs []*stream.Request
		for _, s := range evil {
			reqs = append(reqs, poisoned(s))
		}
		got := lines(t, cfg, reqs...)
		if len(got) != len(reqs) {
			t.Errorf("%s: %d records for %d exchanges", format, len(got), len(reqs))
		}
		for _, line := range got {
			for _, r := range line {
				if r < ' ' || r == 0x7f || r == 0x85 || r == 0x9b || r == 0x2028 || r == '<' {
					t.Fatalf("%s: %q is in a line", format, r)
				}
			}
			if format == "json" && parse(t, line)["status"] != 200.0 {
				t.Errorf("status of another record in %s", line)
			}
		}
	}
}

// poisoned has s wherever a peer can put text.
func poisoned(s string) *stream.Request {
	req := full()
	req.Method, req.ID = s, s
	req.Exchange.Received = stream.Target{Scheme: s, Host: s, Path: s, Query: s}
	part := strings.ReplaceAll(s, "/", "")
	req.GRPC, req.Target = stream.GRPCCall, stream.Target{Path: "/" + part + "/" + part}
	req.Header = stream.Header{}
	req.Header.Add("User-Agent", s)
	req.Header.Add("X-Tenant", s)
	req.Conn.Listener, req.Conn.TLS.ServerName = s, s
	req.Conn.TLS.Client = &stream.Identity{Subject: s}
	req.Exchange.Endpoint, req.Exchange.RetryRefused = s, s
	req.Exchange.Fault = &stream.Fault{Kind: stream.TLSFailed, Limit: s, Cause: errors.New(s)}
	return req
}

func everyField() string {
	var b strings.Builder
	for f := range logline.NumFields {
		b.WriteString(" {" + f.String() + "}")
	}
	return b.String()
}

// TestCanary plants secrets in everything that can be declared one.
func TestCanary(t *testing.T) {
	const canary = "CANARY-7f3a"
	for _, format := range []string{"json", "text"} {
		cfg := toStdout(nil)
		cfg.AccessLog.Format = format
		cfg.Redact = config.Redact{Headers: []string{"X-Api-Key", "User-Agent", "Host", "X-Request-Id"}, Query: []string{"token"}}
		cfg.AccessLog.Headers = []string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Referer", "User-Agent"}
		cfg.AccessLog.Template = everyField()
		for _, name := range cfg.AccessLog.Headers {
			cfg.AccessLog.Template += " {header:" + name + "}"
		}
		req := full()
		req.Header = stream.Header{}
		for _, name := range []string{"x-api-key", "AUTHORIZATION", "proxy-authorization", "cookie", "Set-Cookie", "user-agent"} {
			req.Header.Add(name, canary)
		}
		req.Header.Add("Referer", "https://x.example/?a=1&tok%65n="+canary)
		req.ID, req.Target.Host = canary, canary
		req.Target.Query = "token=" + canary + ";TOKEN=" + canary
		req.Exchange.Fault.Cause = errors.New("https://idp/?token=" + canary)
		line := lines(t, cfg, req)[0]
		if strings.Contains(line, canary) {
			t.Errorf("%s: a secret is in %s", format, line)
		}
		if n := strings.Count(line, "[redacted]"); n < 12 {
			t.Errorf("%s: only %d marks in %s", format, n, line)
		}
	}
}

func TestSelection(t *testing.T) {
	ok := func() *stream.Request { return exchange(nil) }
	with := func(change func(*stream.Request)) *stream.Request {
		req := ok()
		change(req)
		return req
	}
	failed := with(func(r *stream.Request) { r.Exchange.Status = 503 })
	missing := with(func(r *stream.Request) { r.Exchange.Status = 404 })
	slow := with(func(r *stream.Request) { r.Exchange.End = start.Add(2 * time.Second) })
	faulty := full()
	for name, c := range map[string]struct {
		log  config.AccessLog
		want string // of: ok, failed, missing, slow, faulty
	}{
		"all":               {config.AccessLog{Sample: 1}, "11111"},
		"none":              {config.AccessLog{Sample: 0}, "00000"},
		"always 5xx":        {config.AccessLog{Always: config.LogFilter{Status: []string{"5xx"}}}, "01000"},
		"always slow":       {config.AccessLog{Always: config.LogFilter{SlowerThan: config.Duration(time.Second)}}, "00010"},
		"always faults":     {config.AccessLog{Always: config.LogFilter{Faults: true}}, "00001"},
		"always any of two": {config.AccessLog{Always: config.LogFilter{Status: []string{"404"}, Faults: true}}, "00101"},
		"only 404":          {config.AccessLog{Sample: 1, Only: config.LogFilter{Status: []string{"404"}}}, "00100"},
		"only beats always": {config.AccessLog{Only: config.LogFilter{Status: []string{"4xx", "5xx"}}, Always: config.LogFilter{Faults: true, Status: []string{"503"}}}, "01000"},
	} {
		got := ""
		for _, req := range []*stream.Request{ok(), failed, missing, slow, faulty} {
			cfg := toStdout(nil)
			c.log.To = "stdout"
			cfg.AccessLog = c.log
			got += string(rune('0' + len(lines(t, cfg, req))))
		}
		if got != c.want {
			t.Errorf("%s: logged %s, want %s", name, got, c.want)
		}
	}
}

func TestSample(t *testing.T) {
	cfg := toStdout(nil)
	cfg.AccessLog.Sample = 0.25
	req := exchange(nil)
	reqs := make([]*stream.Request, 20_000)
	for i := range reqs {
		reqs[i] = req
	}
	// 5,000 expected; ten standard deviations are 612.
	if n := len(lines(t, cfg, reqs...)); n < 4300 || n > 5700 {
		t.Errorf("%d of 20000 are in a sample of a quarter", n)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, log := range map[string]config.AccessLog{
		"access_log.template: template: no field {nope}":        {To: "stdout", Format: "text", Template: "{nope}"},
		`access_log.format "xml" is neither`:                    {To: "stdout", Format: "xml"},
		`access_log.always: status "9xx"`:                       {To: "stdout", Always: config.LogFilter{Status: []string{"9xx"}}},
		`access_log.only: status "ok"`:                          {To: "stdout", Only: config.LogFilter{Status: []string{"ok"}}},
		"access log: open /nonexistent/dir/x: no such file or ": {To: "/nonexistent/dir/x"},
	} {
		if _, err := New(Config{AccessLog: log}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestDocsFields: every field stands in docs/access-log.md with its text.
func TestDocsFields(t *testing.T) {
	page, err := os.ReadFile("../../../docs/access-log.md")
	if err != nil {
		t.Fatal(err)
	}
	for f := range logline.NumFields {
		row := fmt.Sprintf("| `%s` | %s | %s |\n", f, f.Form(), f.Doc())
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/access-log.md has not the row\n%s", row)
		}
	}
	if !strings.Contains(string(page), "\n"+logline.DefaultTemplate+"\n") {
		t.Error("docs/access-log.md has not the default template")
	}
}
