package filtertest_test

import (
	"context"
	"slices"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// guard refuses requests without its header, and marks the others.
type guardSettings struct {
	Header string `yaml:"header" json:"header"`
}

func guard() filter.Definition {
	return filter.Define(filter.Spec[guardSettings]{
		Name:    "guard",
		Default: func() guardSettings { return guardSettings{Header: "X-Key"} },
		Check: func(s *guardSettings, report *config.Report) {
			if s.Header == "" {
				report.Errorf("header", "name one", "the header has no name")
			}
		},
		Build: func(s guardSettings, _ filter.Env, next stream.Service) (stream.Service, error) {
			return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
				if req.Header.Count(s.Header) == 0 {
					req.Body.Close()
					return nil, &stream.Fault{Kind: stream.Forbidden}
				}
				return next.Serve(ctx, req)
			}), nil
		},
	})
}

func TestRun(t *testing.T) {
	out := filtertest.Run(t, guard(), "header: X-Pass", filtertest.WithBody(
		filtertest.Request("POST", "http://h:8080/a?b=c", "X-Pass: 1", "X-PASS: 2"), "content"), nil)
	if out.Fault != nil || out.Status != 200 || out.Body != "ok" {
		t.Errorf("outcome %+v", out)
	}
	if out.Sent == nil || out.Sent.Method != "POST" || out.Sent.Body != "content" ||
		out.Sent.Target.RequestURI() != "/a?b=c" || out.Sent.Target.Authority() != "h:8080" {
		t.Fatalf("sent %+v", out.Sent)
	}
	if got, want := filtertest.Lines(&out.Sent.Header), []string{"X-Pass: 1", "X-PASS: 2"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestRunOfARefusal(t *testing.T) {
	out := filtertest.Run(t, guard(), "", filtertest.Request("GET", "http://h/"), filtertest.Answer(204, ""))
	if out.Sent != nil || out.Fault == nil || out.Fault.Kind != stream.Forbidden {
		t.Errorf("outcome %+v, want forbidden and nothing sent", out)
	}
	out = filtertest.Run(t, guard(), "", filtertest.Request("GET", "http://h/", "X-Key: 1"), filtertest.Fail(stream.NoEndpoint))
	if out.Sent == nil || out.Fault == nil || out.Fault.Kind != stream.NoEndpoint {
		t.Errorf("outcome %+v, want the fault of the next service", out)
	}
}

func TestCheck(t *testing.T) {
	problems := filtertest.Check(t, guard(), "{\nheader: ''}")
	if len(problems) != 1 || problems[0].Pos.Line != 2 || problems[0].What != "the header has no name" {
		t.Errorf("problems %v", problems)
	}
	if problems := filtertest.Check(t, guard(), "heeder: x"); problems.Errors() == 0 {
		t.Error("an unknown setting is let through")
	}
}

// A filter that breaks the contract must not pass: recorded by a TB of our own.
func TestRunHoldsToTheContract(t *testing.T) {
	for name, serve := range map[string]stream.ServiceFunc{
		"leaves the body open": func(context.Context, *stream.Request) (*stream.Response, error) {
			return filtertest.Response(200, ""), nil
		},
		"returns neither": func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return nil, nil
		},
		"returns another error": func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return nil, context.Canceled
		},
	} {
		broken := filter.Define(filter.Spec[struct{}]{
			Name: "broken", Default: func() struct{} { return struct{}{} }, Check: func(*struct{}, *config.Report) {},
			Build: func(struct{}, filter.Env, stream.Service) (stream.Service, error) { return serve, nil },
		})
		failed := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			filtertest.Run(&judge{TB: t, failed: &failed}, broken, "", filtertest.Request("GET", "http://h/"), nil)
		}()
		<-done
		if !failed {
			t.Errorf("a filter that %s passes", name)
		}
	}
}
