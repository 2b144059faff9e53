package interop

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// outcome is what a client sees of an upstream that misbehaves.
type outcome struct {
	status int
	reason string // the reason word of Proxy-Status; "": the response is the upstream's
	cut    bool   // the body breaks off behind what the upstream sent of it
	length int    // of the body

	// never: there is no whole response. Whether the head has left when Weir
	// sees what is wrong, and is not overtaken by a reset (as it may be over
	// HTTP/3), is a matter of time.
	never bool
}

// broken is a response that breaks off: no client may take it for a whole one.
var broken = outcome{status: http.StatusOK, cut: true, length: half}

func failed(status int, reason string) outcome { return outcome{status: status, reason: reason} }

// same is an outcome that is the same over every upstream protocol.
func same(o outcome) func(upstream) outcome { return func(upstream) outcome { return o } }

// scriptedCases are exchanges with upstreams that misbehave. What clients see
// is the same in every version of HTTP downstream. They are POSTs where a
// client's library would hide a failure of a GET by another attempt.
var scriptedCases = []struct {
	kind, script string
	upload       bool // with a body, which nobody reads
	want         func(u upstream) outcome
}{
	{scripted, "reset-first", false, same(failed(502, "upstream_reset"))},
	{scripted, "hang-up-first", false, same(failed(502, "upstream_closed"))},
	{scripted, "odd-status", false, same(failed(502, "response_malformed"))},
	{silent, "stall-first", false, same(failed(504, "request_timeout"))},
	{silent, "stall-first", true, func(u upstream) outcome {
		if u.version == "HTTP/1.1" {
			return failed(504, "request_timeout") // the kernels take this much
		}
		return failed(504, "upstream_too_slow") // no window is opened again
	}},
	{scripted, "reset-inside", false, same(broken)},
	{scripted, "hang-up-inside", false, same(broken)},
	{silent, "stall-inside", false, same(broken)},
	{scripted, "reset-unknown", false, same(broken)},
	{scripted, "hang-up-unknown", false, same(broken)},
	{scripted, "lies-more", false, same(broken)},
	{scripted, "lies-less", false, func(u upstream) outcome {
		if u.version == "HTTP/1.1" {
			// What stands behind the declared length is no part of the response:
			// it would be the next one on the connection, which is closed instead.
			return outcome{status: 200, length: half}
		}
		return outcome{never: true} // RFC 9113 section 8.1.1, RFC 9114 section 4.1.2
	}},
}

func TestScripted(t *testing.T) {
	forEachCell(t, func(t *testing.T, c cell) {
		for _, test := range scriptedCases {
			name := test.script
			if test.upload {
				name += " of an upload"
			}
			t.Run(name, func(t *testing.T) {
				var body io.Reader
				if test.upload {
					body = unknownLength(part(256 << 10)) // more than a window
				}
				c.misbehave(t, test.kind, test.script, body, test.want(c.up))
			})
		}
	})
}

// misbehave asks for a script. It meets the script once it has the half of the
// body, and reads the rest then.
func (c cell) misbehave(t *testing.T, kind, script string, body io.Reader, want outcome) {
	cluster := kind + "-" + c.up.name + "-" + c.down.name
	path := fmt.Sprintf("/%s/%v/%s", cluster, body != nil, script)
	req, err := http.NewRequest("POST", c.down.url(path), body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	err = a.ask(t, c.client, req, func(resp *http.Response) io.Reader {
		if resp.StatusCode != http.StatusOK || want.never {
			return resp.Body
		}
		begun := make([]byte, half)
		if n, err := io.ReadFull(resp.Body, begun); err != nil {
			t.Errorf("the body broke off after %d bytes: %v", n, err)
		}
		close(c.world.theatre.meeting(path))
		return io.MultiReader(strings.NewReader(string(begun)), resp.Body)
	})
	switch {
	case want.never && (err != nil || a.cut != nil || a.StatusCode == http.StatusBadGateway):
	case want.never:
		t.Errorf("status %d, a whole body of %d bytes", a.StatusCode, len(a.body))
	case err != nil:
		t.Errorf("no response: %v", err)
	default:
		a.came(t, want)
	}
}

// came holds the response to what it must be.
func (a *answer) came(t *testing.T, want outcome) {
	t.Helper()
	if a.StatusCode != want.status || !strings.Contains(a.Header.Get("Proxy-Status"), want.reason) {
		t.Errorf("status %d, %q, want %d, %q", a.StatusCode, a.Header.Get("Proxy-Status"), want.status, want.reason)
	}
	switch {
	case want.cut != (a.cut != nil):
		t.Errorf("the body ended with %v after %d bytes", a.cut, len(a.body))
	case want.reason == "" && string(a.body) != part(want.length):
		t.Errorf("a body of %d bytes, want %d", len(a.body), want.length)
	}
}
