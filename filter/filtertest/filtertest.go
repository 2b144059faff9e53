// Package filtertest has what a filter's tests need: a request, a next service
// that remembers what reached it, and Run, which decodes settings, builds the
// filter and holds it to the contract of stream.Service.
package filtertest

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

// Outcome is what became of a request.
type Outcome struct {
	// Fault is why there is no response; nil when there is one.
	Fault  *stream.Fault
	Status int
	Header stream.Header
	Body   string
	// Sent is what reached the next service; nil when nothing did.
	Sent *Sent
}

// Run sends req through the filter that settings, in YAML, make of the
// definition. next may be nil: it then answers 200. The test fails when the
// settings are refused, and when the filter breaks the contract: both or
// neither of response and fault, an error that is no *stream.Fault, a request
// body that stays open.
func Run(t testing.TB, d filter.Definition, settings string, req *stream.Request, next *Next) Outcome {
	t.Helper()
	if next == nil {
		next = &Next{}
	}
	body := &watchedBody{Body: req.Body}
	req.Body = body
	sentBefore := len(next.Got)
	resp, err := Build(t, d, settings, next).Serve(context.Background(), req)
	if !body.closed {
		t.Errorf("filter %s: Serve has returned and the request body is open", d.Name)
	}
	var out Outcome
	if len(next.Got) > sentBefore {
		out.Sent = next.Got[len(next.Got)-1]
	}
	switch {
	case (resp == nil) == (err == nil):
		t.Fatalf("filter %s: Serve returned response %v and error %v, want exactly one", d.Name, resp, err)
	case err != nil:
		fault, ok := err.(*stream.Fault)
		if !ok || fault == nil {
			t.Fatalf("filter %s: Serve returned the error %v (%T), want a *stream.Fault", d.Name, err, err)
		}
		out.Fault = fault
		return out
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("filter %s: reading the response body: %v", d.Name, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Errorf("filter %s: closing the response body: %v", d.Name, err)
	}
	out.Status, out.Header, out.Body = resp.Status, resp.Header, string(content)
	return out
}

// Build makes the filter around next; the test fails when the settings are
// refused.
func Build(t testing.TB, d filter.Definition, settings string, next stream.Service) stream.Service {
	t.Helper()
	return BuildIn(t, &House{}, d, settings, next)
}

// BuildIn is Build in a house that the test can look into. To build again is to
// reload.
func BuildIn(t testing.TB, h *House, d filter.Definition, settings string, next stream.Service) stream.Service {
	t.Helper()
	decoded, problems := Decode(t, d, settings)
	if problems.Errors() > 0 {
		t.Fatalf("filter %s refuses the settings: %v", d.Name, problems)
	}
	service, err := d.Build(decoded, h.Env(t), next)
	if err != nil {
		t.Fatalf("filter %s cannot be built: %v", d.Name, err)
	}
	return service
}

// Check is what the definition says against settings, in YAML.
func Check(t testing.TB, d filter.Definition, settings string) config.Problems {
	t.Helper()
	decoded, problems := Decode(t, d, settings)
	if refused := problems.Errors() > 0; refused != (decoded == nil) {
		t.Errorf("filter %s: Decode returned %v beside the problems %v", d.Name, decoded, problems)
	}
	return problems
}

// Decode reads settings, in YAML, as a document would be read. The lines of
// the problems count from the first line of settings; files are relative to
// the folder of the test.
func Decode(t testing.TB, d filter.Definition, settings string) (any, config.Problems) {
	t.Helper()
	var node config.Node
	if strings.TrimSpace(settings) != "" {
		if err := node.UnmarshalJSON([]byte(settings)); err != nil { // JSON is YAML too
			t.Fatalf("settings of filter %s: %v", d.Name, err)
		}
	}
	var problems config.Problems
	decoded := d.Decode(node, os.ReadFile, config.NewReport("filter "+d.Name, node.At, &problems))
	return decoded, problems
}

// Request makes a request from a client at 192.0.2.1 on a connection in the
// clear. url is absolute; fields are "Name: value". The test's mistakes panic.
func Request(method, url string, fields ...string) *stream.Request {
	target, fault := stream.ParseTarget("", method, url, "")
	if fault != nil {
		panic(fmt.Sprintf("filtertest: %s %s: %v", method, url, fault))
	}
	client := netip.MustParseAddrPort("192.0.2.1:50000")
	req := &stream.Request{
		Method: method, Target: target, Proto: stream.HTTP11, Body: stream.NoBody,
		Conn:   &stream.Conn{ID: 1, Listener: "test", Remote: client, Local: netip.MustParseAddrPort("192.0.2.254:80")},
		Client: client.Addr(), ID: "test-1",
	}
	req.Header = Header(fields...)
	return req
}

// WithBody gives the request content of known length.
func WithBody(req *stream.Request, content string) *stream.Request {
	req.Body, req.Length = stream.BytesBody([]byte(content)), int64(len(content))
	return req
}

// Header makes a header of "Name: value" lines.
func Header(fields ...string) stream.Header {
	var h stream.Header
	for _, f := range fields {
		name, value, ok := strings.Cut(f, ":")
		if !ok {
			panic(fmt.Sprintf("filtertest: field %q has no colon", f))
		}
		h.Add(name, strings.Trim(value, " \t"))
	}
	return h
}

// Lines is the header as "Name: value" lines, in order.
func Lines(h *stream.Header) []string {
	lines := make([]string, 0, h.Len())
	for _, f := range h.Fields() {
		lines = append(lines, f.Name+": "+f.Value)
	}
	return lines
}

// watchedBody knows whether it was closed.
type watchedBody struct {
	stream.Body
	closed bool
}

func (b *watchedBody) Close() error {
	b.closed = true
	return b.Body.Close()
}

// Bytes keeps the fast path of a body that has one.
func (b *watchedBody) Bytes() ([]byte, bool) {
	if whole, ok := b.Body.(stream.Whole); ok {
		return whole.Bytes()
	}
	return nil, false
}

// Prefetch keeps the fast path of a body that has one.
func (b *watchedBody) Prefetch(max int) error {
	if p, ok := b.Body.(stream.Prefetcher); ok {
		return p.Prefetch(max)
	}
	return nil
}
