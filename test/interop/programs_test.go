package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirproxy/weir/test/process"
)

// program runs a client that is a program, and wants it to succeed. pkg is the
// package of Debian that has it.
func program(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: install %s (make tools)", name, pkg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), process.Patience)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%.2000s", name, strings.Join(args, " "), err, stderr.String(), out)
	}
	return string(out)
}

// file is one with this content.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%.4000s", want, out)
		}
	}
}

// TestCurl asks with curl, which Debian builds without HTTP/3. It has no early
// response: over HTTP/2, curl takes the RST_STREAM (NO_ERROR) behind one, which
// asks it to send no more (RFC 9113 section 8.1), for a failure.
func TestCurl(t *testing.T) {
	flags := map[string][]string{
		"h1": {"--http1.1"}, "h1-tls": {"--http1.1"}, "h2c": {"--http2-prior-knowledge"}, "h2-tls": {"--http2"},
	}
	cases := []struct {
		name, path string
		args       []string
		wantHeader []string // of the response, trailers included
		want       string
	}{
		{"plain", "plain", nil, nil, content},
		{"trailers", "trailers", []string{"--header", "TE: trailers", "--data-binary", "a body"}, []string{"x-seen: a body", "x-check: checked"}, content},
		// More than a megabyte is sent with Expect: 100-continue over HTTP/1.1.
		{"big both ways", "echo", []string{"--data-binary", "@" + file(t, big)}, nil, big},
	}
	cells(t, func(t *testing.T, c cell) {
		if flags[c.down.name] == nil {
			return
		}
		for _, test := range cases {
			t.Run(test.name, func(t *testing.T) {
				header := filepath.Join(t.TempDir(), "header")
				args := append([]string{
					"--silent", "--show-error", "--cacert", filepath.Join(c.world.dir, "ca.pem"), "--dump-header", header,
					"--connect-to", "site.test::" + c.world.Address(t, c.down.listener),
				}, flags[c.down.name]...)
				args = append(args, test.args...)
				got := program(t, "curl", "curl", append(args, c.down.url("/"+fine+"-"+c.up.name+"/"+test.path))...)
				if got != test.want {
					t.Errorf("a body of %d bytes, want %d", len(got), len(test.want))
				}
				head, err := os.ReadFile(header)
				if err != nil {
					t.Fatal(err)
				}
				said := strings.ToLower(string(head))
				contains(t, said, append(test.wantHeader, strings.ToLower("X-Upstream-Version: "+c.up.version), strings.TrimSuffix(strings.ToLower(c.down.version), ".0")+" ")...)
			})
		}
	})
}

// TestNghttp asks with nghttp and h2load.
func TestNghttp(t *testing.T) {
	cells(t, func(t *testing.T, c cell) {
		scheme := "http://"
		if c.down.tls {
			scheme = "https://"
		}
		base := scheme + c.world.Address(t, c.down.listener) + "/" + fine + "-" + c.up.name
		if c.down.version != "HTTP/3.0" { // for which Debian has them not
			t.Run("h2load", func(t *testing.T) {
				args := []string{"--requests=200", "--clients=4", "--max-concurrent-streams=10", "--data=" + file(t, content), base + "/echo"}
				if c.down.version == "HTTP/1.1" {
					args[2] = "--h1"
				}
				contains(t, program(t, "nghttp2-client", "h2load", args...), "200 succeeded, 0 failed, 0 errored, 0 timeout", "status codes: 200 2xx")
			})
		}
		if c.down.version != "HTTP/2.0" {
			return
		}
		t.Run("trailers", func(t *testing.T) {
			seen := "x-seen: a body 42\n"
			if c.up.version == "HTTP/1.1" {
				seen = "x-seen: a body\n" // nghttp declares a length, behind which HTTP/1.1 has no trailers
			}
			contains(t, program(t, "nghttp2-client", "nghttp", "--verbose", "--no-verify-peer", "--data="+file(t, "a body"),
				"--trailer=x-sum: 42", "--header=te: trailers", base+"/trailers"),
				":status: 200", seen, "x-check: checked", content)
		})
		t.Run("early response", func(t *testing.T) {
			contains(t, program(t, "nghttp2-client", "nghttp", "--verbose", "--no-verify-peer", "--data="+file(t, big), base+"/early"),
				":status: 403", content)
		})
	})
}
