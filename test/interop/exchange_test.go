package interop

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"testing"

	"github.com/weirproxy/weir/test/process"
)

// answer is what a client got.
type answer struct {
	*http.Response
	interim []string // the Link fields of the 103s
	body    []byte
	cut     error // why the body is not whole
}

// ask makes one exchange, and wants it to be made once: a client that hides a
// failure by another attempt would hide what is looked for here. content is
// what is read of the response; nil: its body.
func (a *answer) ask(t *testing.T, client http.RoundTripper, req *http.Request, content func(*http.Response) io.Reader) error {
	t.Helper()
	var sent atomic.Int32
	ctx, cancel := context.WithTimeout(req.Context(), process.Patience)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Add(1) },
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints {
				a.interim = append(a.interim, header.Get("Link"))
			}
			return nil
		},
	})
	resp, err := client.RoundTrip(req.WithContext(ctx))
	if n := sent.Load(); n > 1 {
		t.Errorf("the client sent the request %d times", n)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	a.Response = resp
	in := io.Reader(resp.Body)
	if content != nil {
		in = content(resp)
	}
	a.body, a.cut = io.ReadAll(in)
	return nil
}

// wants holds the answer to what it must be.
func (a *answer) wants(t *testing.T, d downstream, status int, body string) {
	t.Helper()
	if a.Proto != d.version {
		t.Errorf("the client got %s", a.Proto)
	}
	if a.StatusCode != status {
		t.Errorf("status %d, want %d: %s %.200q", a.StatusCode, status, a.Header.Get("Proxy-Status"), a.body)
	}
	if a.cut != nil {
		t.Errorf("the body is cut after %d bytes: %v", len(a.body), a.cut)
	} else if string(a.body) != body {
		t.Errorf("a body of %d bytes, want %d: %.100q", len(a.body), len(body), a.body)
	}
}
