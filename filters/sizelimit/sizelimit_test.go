package sizelimit

import (
	"context"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streamed is a body whose length nobody knows.
type streamed struct{ stream.Body }

func unknown(content string) stream.Body { return streamed{stream.BytesBody([]byte(content))} }

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		content string
		known   bool
		sent    bool // to the upstream
		whole   bool
	}{
		{"12345", true, true, true}, {"123456", true, false, false}, {"12345", false, true, true}, {"123456", false, true, false}, {"", true, true, true},
	} {
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/"), c.content)
		if !c.known {
			req.Body, req.Length = unknown(c.content), -1
		}
		next := &filtertest.Next{}
		out := filtertest.Run(t, Definition(), "request: 5", req, next)
		if (out.Sent != nil) != c.sent {
			t.Errorf("%q, known %v: sent %v", c.content, c.known, out.Sent)
			continue
		}
		if !c.sent {
			if out.Fault == nil || out.Fault.Kind != stream.BodyTooLarge || out.Fault.Limit != "size_limit.request" {
				t.Errorf("%q: %v", c.content, out.Fault)
			}
			continue
		}
		err := out.Sent.BodyErr
		if (err == nil) != c.whole || err != nil && stream.AsFault(err).Kind != stream.BodyTooLarge {
			t.Errorf("%q, known %v: the upstream reads %q, %v", c.content, c.known, out.Sent.Body, out.Sent.BodyErr)
		}
	}
}

func respond(content string, known bool) *filtertest.Next {
	return &filtertest.Next{Answer: func(*stream.Request) (*stream.Response, error) {
		resp := filtertest.Response(200, content)
		if !known {
			resp.Body, resp.Length = unknown(content), -1
		}
		return resp, nil
	}}
}

func TestResponses(t *testing.T) {
	if out := filtertest.Run(t, Definition(), "response: 5", filtertest.Request("GET", "http://h/"), respond("12345", true)); out.Body != "12345" {
		t.Errorf("%+v", out)
	}
	if out := filtertest.Run(t, Definition(), "response: 5", filtertest.Request("GET", "http://h/"), respond("12345", false)); out.Body != "12345" {
		t.Errorf("%+v", out)
	}
	out := filtertest.Run(t, Definition(), "response: 5", filtertest.Request("GET", "http://h/"), respond("123456", true))
	if out.Fault == nil || out.Fault.Kind != stream.ResponseTooLarge || out.Fault.Limit != "size_limit.response" {
		t.Errorf("%+v", out)
	}
	s := filtertest.Build(t, Definition(), "response: 5", respond("123456789", false))
	resp, err := s.Serve(context.Background(), filtertest.Request("GET", "http://h/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if fault, ok := err.(*stream.Fault); !ok || fault.Kind != stream.ResponseTooLarge || string(content) != "12345" {
		t.Errorf("%q, %v", content, err)
	}
	if n, err := resp.Body.Read(make([]byte, 5)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("%d, %v after the limit", n, err)
	}
}

// TestHead: what an answer to HEAD declares is not sent.
func TestHead(t *testing.T) {
	out := filtertest.Run(t, Definition(), "response: 5", filtertest.Request("HEAD", "http://h/"), &filtertest.Next{
		Answer: func(*stream.Request) (*stream.Response, error) {
			return &stream.Response{Status: 200, Body: stream.NoBody, Length: 1 << 30}, nil
		},
	})
	if out.Fault != nil {
		t.Error(out.Fault)
	}
}

func TestShadow(t *testing.T) {
	h := &filtertest.House{}
	for _, known := range []bool{true, false} {
		s := filtertest.BuildIn(t, h, Definition(), "{request: 5, response: 5, mode: shadow}", respond("123456789", known))
		req := filtertest.WithBody(filtertest.Request("POST", "http://h/"), "123456789")
		if !known {
			req.Body, req.Length = unknown("123456789"), -1
		}
		resp, err := s.Serve(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(resp.Body); err != nil || string(content) != "123456789" {
			t.Errorf("%q, %v", content, err)
		}
		resp.Body.Close()
	}
	for _, direction := range []string{"request", "response"} {
		if n := h.Counted(`weir_size_limit_refusals_total{direction="` + direction + `",result="shadow_refused"}`); n != 2 {
			t.Errorf("%s: %d would be refused, want 2", direction, n)
		}
	}
}

func TestCheck(t *testing.T) {
	if problems := filtertest.Check(t, Definition(), ""); len(problems) != 1 || !strings.Contains(problems[0].What, "limits nothing") {
		t.Error(problems)
	}
	if problems := filtertest.Check(t, Definition(), "request: big"); problems.Errors() != 1 {
		t.Error(problems)
	}
}
