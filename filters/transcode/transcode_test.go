package transcode

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

func TestUnary(t *testing.T) {
	for _, c := range []struct {
		name, method, url, body string
		path                    string // "" when it is answered here
		message                 string
		status                  int
		answer                  string // "" : message, or a part of it
	}{
		{"path", "GET", "/v1/shelves/1/books/2", "", "Get", `{"name":"shelves/1/books/2"}`, 200, `{"name":"shelves/1/books/2"}`},
		{"path with escapes", "GET", "/v1/shelves/a%20b/books/%C3%A4", "", "Get", `{"name":"shelves/a b/books/ä"}`, 200, ""},
		{"nested field in the path", "GET", "/v1/authors/Eco/first", "", "Get", `{"author":{"name":"Eco"}}`, 200, ""},
		{"custom method", "LINK", "/v1/link/x", "", "Get", `{"name":"x"}`, 200, ""},
		{"the rest", "GET", "/v1/all/a/b/c", "", "Get", `{"name":"a/b/c"}`, 200, ""},
		{"an empty rest", "GET", "/v1/all", "", "Get", `{}`, 200, "{}"},
		{"query", "GET", "/v1/shelves/1/books/2?title=a+b&author.name=Eco&tags=x&tags=y&kind=NOVEL&pages=-3&isbn=18446744073709551615&lent=true&cover=-_8&weight=1.5e3", "",
			"Get", `{"name":"shelves/1/books/2","display_name":"a b","author":{"name":"Eco"},"tags":["x","y"],"kind":"NOVEL","pages":-3,"isbn":"18446744073709551615","lent":true,"cover":"+/8=","weight":1500}`, 200,
			`{"name":"shelves/1/books/2","title":"a b","author":{"name":"Eco"},"tags":["x","y"],"kind":"NOVEL","pages":-3,"isbn":"18446744073709551615","lent":true,"cover":"+/8=","weight":1500}`},
		{"query by the name in the file", "GET", "/v1/all/a?display_name=t", "", "Get", `{"name":"a","display_name":"t"}`, 200, `{"name":"a","title":"t"}`},
		{"well-known types", "GET", "/v1/all/a?author.born=2001-02-03T04:05:06Z&loan=90s&mask=name,displayName&rating=5&note=n&times=2001-01-01T00:00:00Z&kinds=1&kinds=NOVEL", "", "Get",
			`{"name":"a","author":{"born":"2001-02-03T04:05:06Z"},"loan":"90s","mask":"name,displayName","rating":5,"note":"n","kinds":["NOVEL","NOVEL"],"times":["2001-01-01T00:00:00Z"]}`, 200, ""},
		{"enum by number", "GET", "/v1/all/a?kind=1", "", "Get", `{"name":"a","kind":"NOVEL"}`, 200, ""},
		{"query: unknown", "GET", "/v1/all/a?x=1", "", "", "", 400, "there is no such field"},
		{"query: below a scalar", "GET", "/v1/all/a?title.x=1", "", "", "", 400, "there is no such field"},
		{"query: of the path", "GET", "/v1/all/a?name=b", "", "", "", 400, "there is no such field"},
		{"query: a message", "GET", "/v1/all/a?author=b", "", "", "", 400, "cannot stand in a path or query"},
		{"query: below a list", "GET", "/v1/all/a?parts.name=b", "", "", "", 400, "no such field"},
		{"query: a map", "GET", "/v1/all/a?free.fields=b", "", "", "", 400, "cannot stand"},
		{"query: no number", "GET", "/v1/all/a?pages=0x10", "", "", "", 400, "does not fit"},
		{"query: too large", "GET", "/v1/all/a?pages=2147483648", "", "", "", 400, "does not fit"},
		{"query: hexadecimal float", "GET", "/v1/all/a?weight=0x1p4", "", "", "", 400, "does not fit"},
		{"query: no bool", "GET", "/v1/all/a?lent=1", "", "", "", 400, "does not fit"},
		{"query: no enum", "GET", "/v1/all/a?kind=POEM", "", "", "", 400, "does not fit"},
		{"query: no time", "GET", "/v1/all/a?author.born=x", "", "", "", 400, "does not fit"},
		{"query: twice", "GET", "/v1/all/a?pages=1&pages=2", "", "", "", 400, "several times"},
		{"query: two of one", "GET", "/v1/all/a?paper=x&file=y", "", "", "", 400, "paper is set already"},
		{"query: deep", "GET", "/v1/all/a?" + strings.Repeat("a.", 40) + "b=1", "", "", "", 400, "too long"},
		{"body", "POST", "/v1/books", `{"title":"t","author":{"name":"Eco"}}`, "Create", `{"display_name":"t","author":{"name":"Eco"}}`, 200, `{"title":"t","author":{"name":"Eco"}}`},
		{"Any and Struct", "POST", "/v1/books", `{"extra":{"@type":"x/lib.Author","name":"n"},"free":{"a":[1,null]}}`, "Create", `{"extra":{"@type":"x/lib.Author","name":"n"},"free":{"a":[1,null]}}`, 200, ""},
		{"an Any of no known type", "POST", "/v1/books", `{"extra":{"@type":"x/un.Known"}}`, "", "", 400, "un.Known"},
		{"no body", "POST", "/v1/books", "", "Create", `{}`, 200, "{}"},
		{"path beside the body", "PUT", "/v1/books/n", `{"name":"other","title":"t"}`, "Create", `{"name":"n","display_name":"t"}`, 200, `{"name":"n","title":"t"}`},
		{"query beside the whole body", "POST", "/v1/books?title=t", `{}`, "", "", 400, "no such field"},
		{"field body", "PATCH", "/v1/books/n/author?title=t", `{"name":"Eco"}`, "Create", `{"name":"books/n","display_name":"t","author":{"name":"Eco"}}`, 200, `{"name":"books/n","title":"t","author":{"name":"Eco"}}`},
		{"query into the body's field", "PATCH", "/v1/books/n/author?author.name=x", `{}`, "", "", 400, "no such field"},
		{"list as body and response", "PUT", "/v1/books/n/tags", `["a","b"]`, "Create", `{"name":"books/n","tags":["a","b"]}`, 200, `["a","b"]`},
		{"empty list as response", "PUT", "/v1/books/n/tags", `[]`, "Create", `{"name":"books/n"}`, 200, `[]`},
		{"scalar as body and response", "PUT", "/v1/books/n/title", `"t"`, "Create", `{"name":"books/n","display_name":"t"}`, 200, `"t"`},
		{"a body that opens more fields", "PUT", "/v1/books/n/title", `"t","pages":5`, "", "", 400, "no JSON"},
		{"verb", "POST", "/v1/books/n:cancel", `{}`, "Cancel", `{"name":"books/n"}`, 200, ""},
		{"unknown body field", "POST", "/v1/books", `{"nope":1}`, "", "", 400, `unknown field`},
		{"broken JSON", "POST", "/v1/books", `{"title":`, "", "", 400, `"code":3`},
		{"two values", "POST", "/v1/books", `{} {}`, "", "", 400, `"code":3`},
		{"deep JSON", "POST", "/v1/books", strings.Repeat(`{"parts":[`, 101) + strings.Repeat(`]}`, 101), "", "", 400, `recursion`},
	} {
		next := newUpstream(t)
		service := filtertest.Build(t, Definition(), settingsFor(t, ""), next)
		out := do(t, service, request(c.method, "http://h"+c.url, c.body, "Content-Type: application/json"))
		if c.path == "" {
			if out.status != c.status || !strings.Contains(out.body, c.answer) || next.got != nil || !strings.Contains(out.body, `"details":[]`) {
				t.Errorf("%s: %v, upstream %q; want %d with %q", c.name, out, next.got, c.status, c.answer)
			}
			continue
		}
		if want := []string{"POST /lib.Library/" + c.path, c.message}; !slices.Equal(next.got, want) {
			t.Errorf("%s: upstream has %q, want %q (%v)", c.name, next.got, want, out)
			continue
		}
		if c.answer == "" {
			c.answer = c.message
		}
		if got := compact(out.body); out.status != c.status || got != c.answer {
			t.Errorf("%s: %d %s, want %d %s", c.name, out.status, got, c.status, c.answer)
		}
		if got := strings.Join(filtertest.Lines(&out.header), "|"); got != "Content-Type: application/json|X-Meta: 1" {
			t.Errorf("%s: header %q", c.name, got)
		}
	}
}

// What the upstream sees, and what stands in the request once it is answered.
func TestAddress(t *testing.T) {
	next := newUpstream(t)
	service := filtertest.Build(t, Definition(), settingsFor(t, ""), next)
	req := request("PUT", "http://h:81/v1/books/n", `{}`, "Content-Type: application/json", "Accept: */*", "X-A: 1", "grpc-encoding: gzip", "grpc-timeout: 1S")
	req.ExpectContinue = true
	received := req.Target
	do(t, service, req)
	want := "X-A: 1|grpc-timeout: 1S|Content-Type: application/grpc|grpc-accept-encoding: identity"
	if got := strings.Join(filtertest.Lines(&next.header), "|"); got != want || next.grpc != stream.GRPCCall {
		t.Errorf("the upstream sees %q", got)
	}
	if req.Exchange.Received != received || req.Target.Authority() != "h:81" || req.Target.HasQuery || req.ExpectContinue {
		t.Errorf("received %v, sent to %v", req.Exchange.Received, req.Target)
	}
	if req.Method != "PUT" || req.GRPC != stream.NotGRPC {
		t.Errorf("%s, gRPC %d: a fault would be answered as if the client spoke gRPC", req.Method, req.GRPC)
	}
	if _, ok := req.Body.(stream.Whole); !ok {
		t.Error("the body is not in memory, so that no attempt can be repeated")
	}
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		more   string
		req    *stream.Request
		kind   stream.Kind
		status int
	}{
		{"a form", "", request("POST", "http://h/v1/books", "a=b", "Content-Type: application/x-www-form-urlencoded"), stream.ContentUnsupported, 0},
		{"encoded", "", request("POST", "http://h/v1/books", "x", "Content-Encoding: gzip"), stream.ContentUnsupported, 0},
		{"large", ", max_message: 10", request("POST", "http://h/v1/books", `{"title":"longer"}`), stream.BodyTooLarge, 0},
		{"large from the path", ", max_message: 10", request("GET", "http://h/v1/all/0123456789", ""), stream.BodyTooLarge, 0},
		{"three bytes for each message", "", request("POST", "http://h/v1/books", `{"parts":[`+strings.Repeat("{},", 1<<20)+`{}]}`), stream.BodyTooLarge, 0},
		{"many parameters", ", ignore_unknown_query: true", func() *stream.Request {
			req := request("GET", "http://h/v1/all/a", "")
			req.Target.Query, req.Target.HasQuery = strings.Repeat("x=&", maxParams)+"x=", true
			return req
		}(), 0, 400},
	} {
		next := newUpstream(t)
		settings := settingsFor(t, c.more)
		out := filtertest.Run(t, Definition(), settings, c.req, nil)
		if c.kind != 0 && (out.Fault == nil || out.Fault.Kind != c.kind) || out.Status != c.status || out.Sent != nil || next.got != nil {
			t.Errorf("%s: %+v", c.name, out)
		}
	}
	// Of unknown length, the end of the measure is found while it is read.
	req := request("POST", "http://h/v1/books", "")
	req.Body, req.Length = &wire{reads: []string{`{"title":"`, "longer", `"}`}}, -1
	if out := filtertest.Run(t, Definition(), settingsFor(t, ", max_message: 10"), req, nil); out.Fault == nil || out.Fault.Limit != "transcode.max_message" {
		t.Errorf("%+v", out)
	}
	gone := &stream.Fault{Kind: stream.ClientGone}
	req = request("POST", "http://h/v1/books", "")
	req.Body, req.Length = &wire{reads: []string{`{`}, last: gone}, -1
	if out := filtertest.Run(t, Definition(), settingsFor(t, ""), req, nil); out.Fault != gone {
		t.Errorf("%+v", out)
	}
}

func TestUnmatched(t *testing.T) {
	grpc := func(url string) *stream.Request {
		req := request("POST", url, "\x00\x00\x00\x00\x00", "Content-Type: application/grpc")
		req.GRPC = stream.GRPCCall
		return req
	}
	for _, c := range []struct {
		more string
		req  *stream.Request
		want string // what the upstream gets
		body string
	}{
		{"", request("GET", "http://h/else?a=b", ""), "GET /else?a=b", "passed"},
		{"", request("DELETE", "http://h/v1/books", ""), "DELETE /v1/books", "passed"},
		{"", request("HEAD", "http://h/v1/all/a", ""), "HEAD /v1/all/a", "passed"},
		{", unmatched: \"404\"", request("GET", "http://h/else", ""), "", `{"code":5,"message":"no method is served under this path","details":[]}`},
		{", unmatched: \"404\"", grpc("http://h/lib.Library/Plain"), "POST /lib.Library/Plain", "\x00\x00\x00\x00\x00"},
		{"", request("POST", "http://h/lib.Library/Plain", "{}"), "POST /lib.Library/Plain", "passed"},
		{", auto_mapping: true", request("POST", "http://h/lib.Library/Plain", `{"pages":1}`), "POST /lib.Library/Plain", `{"pages":1}`},
		{", auto_mapping: true", request("POST", "http://h/lib.Library/Get", "{}"), "POST /lib.Library/Get", "passed"}, // it has an annotation
	} {
		next := newUpstream(t)
		out := do(t, filtertest.Build(t, Definition(), settingsFor(t, c.more), next), c.req)
		if got := strings.Join(next.got[:min(1, len(next.got))], ""); got != c.want || compact(out.body) != c.body {
			t.Errorf("%s%s: upstream has %q, answer %v", c.req.Target.Path, c.more, next.got, out)
		}
	}
	upgrade := request("GET", "http://h/v1/all/a", "")
	upgrade.Upgrade = "websocket"
	next := newUpstream(t)
	if out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), upgrade); out.body != "passed" {
		t.Errorf("an upgrade: %v", out)
	}
}

func TestOptions(t *testing.T) {
	for more, want := range map[string]string{
		", use_proto_names: true":      `{"name":"a","display_name":"t"}`,
		", ignore_unknown_query: true": `{"name":"a","title":"t"}`,
	} {
		url := "http://h/v1/all/a?title=t"
		if strings.Contains(more, "ignore") {
			url += "&utm=1&name=b"
		}
		out := do(t, filtertest.Build(t, Definition(), settingsFor(t, more), newUpstream(t)), request("GET", url, ""))
		if compact(out.body) != want {
			t.Errorf("%s: %v", more, out)
		}
	}
	out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ", emit_unpopulated: true"), newUpstream(t)), request("GET", "http://h/v1/all/a", ""))
	if got := compact(out.body); !strings.Contains(got, `"title":""`) || !strings.Contains(got, `"tags":[]`) {
		t.Errorf("emit_unpopulated: %s", got)
	}
}

func TestStatuses(t *testing.T) {
	for code, want := range map[int]int{1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400,
		12: 501, 13: 500, 14: 503, 15: 500, 16: 401, 99: 500} {
		for _, early := range []bool{false, true} {
			next := newUpstream(t)
			next.status, next.message, next.early, next.reply = code, "caf%C3%A9 %zz", early, []string{}
			out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/all/a", ""))
			if out.status != want || !strings.Contains(out.body, `"message":"café %zz","details":[]`) {
				t.Errorf("code %d: %v, want %d", code, out, want)
			}
			if got := strings.Join(filtertest.Lines(&out.header), "|"); !strings.HasPrefix(got, "Content-Type: application/json|X-Meta: 1") || strings.Contains(got, "grpc") {
				t.Errorf("code %d: header %q", code, got)
			}
		}
	}
}

// detailsBin is a google.rpc.Status with a book, and with something unknown.
func detailsBin() []byte {
	book := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "b")
	var out []byte
	out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), 9)
	for _, url := range []string{"type.googleapis.com/lib.Book", "x/un.Known"} {
		detail := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), url)
		detail = protowire.AppendBytes(protowire.AppendTag(detail, 2, protowire.BytesType), book)
		out = protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), detail)
	}
	return out
}

func TestDetails(t *testing.T) {
	next := newUpstream(t)
	next.status, next.details, next.reply = 9, detailsBin(), []string{}
	out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/all/a", ""))
	want := `{"code":9,"message":"","details":[{"@type":"type.googleapis.com/lib.Book","name":"b"},{"@type":"x/un.Known","value":"CgFi"}]}`
	if out.status != 400 || compact(out.body) != want {
		t.Errorf("%v, want %s", out, want)
	}
	next.details = []byte{0xff, 0xff} // malformed: left out
	out = do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/all/a", ""))
	if out.status != 400 || !strings.Contains(out.body, `"details":[]`) {
		t.Errorf("%v", out)
	}
}

// A hostile or broken upstream.
func TestBrokenAnswers(t *testing.T) {
	ok := filtertest.Header("grpc-status: 0")
	body := func(content string, end *stream.Header) func(*stream.Response) {
		return func(r *stream.Response) { r.Body = &wire{reads: []string{content}, trailer: end} }
	}
	for name, c := range map[string]struct {
		change func(*stream.Response)
		kind   stream.Kind
	}{
		"compressed":        {body("\x01\x00\x00\x00\x01a", &ok), stream.ResponseMalformed},
		"flags":             {body("\x80\x00\x00\x00\x01a", &ok), stream.ResponseMalformed},
		"too large":         {body("\x00\xff\xff\xff\xffa", &ok), stream.ResponseTooLarge},
		"cut in a head":     {body("\x00\x00", &ok), stream.ResponseTruncated},
		"cut in a message":  {body("\x00\x00\x00\x00\x05a", &ok), stream.ResponseTruncated},
		"no status":         {body("\x00\x00\x00\x00\x00", nil), stream.ResponseTruncated},
		"no message":        {body("", &ok), stream.ResponseMalformed},
		"two messages":      {body("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", &ok), stream.ResponseMalformed},
		"no protobuf":       {body("\x00\x00\x00\x00\x01\xff", &ok), stream.ResponseMalformed},
		"no UTF-8":          {body("\x00\x00\x00\x00\x03\x0a\x01\xff", &ok), stream.ResponseMalformed},
		"not gRPC":          {func(r *stream.Response) { r.Header = filtertest.Header("Content-Type: text/html") }, stream.ResponseMalformed},
		"reset on the way":  {func(r *stream.Response) { r.Body = &wire{last: &stream.Fault{Kind: stream.UpstreamReset}} }, stream.UpstreamReset},
		"an Any that nests": {body(nested(150_000), &ok), stream.ResponseMalformed},
		"empty messages":    {body(framed(strings.Repeat("\x9a\x01\x00", 1<<20)), &ok), stream.ResponseTooLarge},
		"packed enums":      {body(framed("\xaa\x01\x80\x80\xe0\x01"+strings.Repeat("\x01", 7<<19)), &ok), stream.ResponseTooLarge},
	} {
		next := newUpstream(t)
		closes := &wire{}
		next.change = func(r *stream.Response) {
			c.change(r)
			if w, ok := r.Body.(*wire); ok {
				closes = w
			}
		}
		out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/all/a", ""))
		if out.fault == nil || out.fault.Kind != c.kind || out.fault.Retry != stream.RetryNever {
			t.Errorf("%s: %v, want %s", name, out, c.kind)
		}
		if closes.closes == 0 {
			t.Errorf("%s: the response stays open", name)
		}
	}
	next := newUpstream(t)
	next.change = func(r *stream.Response) { *r = *filtertest.Response(502, "<html>", "Content-Type: text/html") }
	if out := do(t, filtertest.Build(t, Definition(), settingsFor(t, ""), next), request("GET", "http://h/v1/all/a", "")); out.status != 502 || out.body != "<html>" {
		t.Errorf("an error of something in between: %v", out)
	}
	out := filtertest.Run(t, Definition(), settingsFor(t, ""), request("GET", "http://h/v1/all/a", ""), filtertest.Fail(stream.ConnectRefused))
	if out.Fault == nil || out.Fault.Kind != stream.ConnectRefused {
		t.Errorf("%+v", out)
	}
}

// nested is a book whose extra holds a book whose extra ..., of some size.
func nested(size int) string {
	book := []byte{}
	for len(book) < size {
		detail := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "x/lib.Book")
		detail = protowire.AppendBytes(protowire.AppendTag(detail, 2, protowire.BytesType), book)
		book = protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), detail)
	}
	return framed(string(book))
}

func framed(message string) string {
	frame := append(make([]byte, frameHead), message...)
	closeFrame(frame, 0)
	return string(frame)
}

func TestCheck(t *testing.T) {
	for settings, what := range map[string]string{
		"{}": "knows no service",
		"{reflection: true, descriptors: {file: x}}":                              "both set",
		"{reflection: true, services: [a/b]}":                                     `"a/b" is no name`,
		"{reflection: true, unmatched: drop}":                                     "drop",
		"{reflection: true, max_message: 0}":                                      "max_message",
		"{descriptors: {file: ''}}":                                               "empty",
		"{descriptors: {file: testdata/missing.pb}}":                              "cannot be read",
		"{descriptors: {file: README.md}}":                                        "FileDescriptorSet",
		strings.Replace(settingsFor(t, ""), "}}", "}, services: [lib.Other]}", 1): `no service "lib.Other"`,
	} {
		problems := filtertest.Check(t, Definition(), settings)
		if problems.Errors() != 1 || !strings.Contains(problems[0].What, what) || problems[0].Fix == "" {
			t.Errorf("%s: %v, want %q with a way out", settings, problems, what)
		}
	}
	if problems := filtertest.Check(t, Definition(), settingsFor(t, "")); len(problems) != 0 {
		t.Errorf("what is right is refused: %v", problems)
	}
}

func TestReadme(t *testing.T) {
	_, rest, _ := strings.Cut(Definition().Readme, "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	document, problems := config.Parse("README.md", []byte(example))
	if !closed || len(problems) > 0 || len(document.Routes) != 1 {
		t.Fatalf("the example: %v", problems)
	}
	used := document.Routes[0].Filters[0]
	settings, ok := Definition().Decode(used.Settings, nil, config.NewReport("filter", used.Settings.At, &problems)).(Settings)
	if !ok || len(problems) > 0 || !settings.Reflection || len(settings.Services) != 1 {
		t.Errorf("the example decodes to %+v: %v", settings, problems)
	}
	for _, word := range []string{"descriptors", "reflection", "services", "emit_unpopulated", "use_proto_names", "ignore_unknown_query",
		"max_message", "auto_mapping", "unmatched"} {
		if !strings.Contains(Definition().Readme, "`"+word+"`") {
			t.Errorf("README.md does not explain %s", word)
		}
	}
}
