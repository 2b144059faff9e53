package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weirproxy/weir/filter"
)

// command runs one command line.
func command(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(App{Version: "v1", Filters: filter.NewRegistry(), Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// TestUsage: a command line that makes no sense gets one line that says what to
// type, and exit code 2.
func TestUsage(t *testing.T) {
	for line, want := range map[string]string{
		"proxi":                               `weir: there is no command "proxi"; did you mean "proxy"?; see weir --help`,
		"xyz":                                 `weir: there is no command "xyz"; see weir --help`,
		"run":                                 `weir: run: name a file or a directory with documents; see weir run --help`,
		"check --format json":                 `weir: check: name a file or a directory with documents; see weir check --help`,
		"version x":                           `weir: version: there is no argument to give, and "x" is one; see weir version --help`,
		"completion csh":                      `weir: completion: there is no argument to give, and "csh" is one; see weir completion --help`,
		"explain a.yaml GET":                  `weir: explain: got 2 arguments, want FILE_OR_DIR... METHOD URL (or METHOD URL with --admin); see weir explain --help`,
		"check --formt json a.yaml":           `weir: unknown flag: --formt; see weir check --help`,
		"proxy --to http://":                  `weir: proxy: --to "http://" has no host; write for example http://127.0.0.1:9000; see weir proxy --help`,
		"proxy --to 127.0.0.1:9000":           `weir: proxy: --to "127.0.0.1:9000" has no scheme; write http://127.0.0.1:9000 or https://127.0.0.1:9000; see weir proxy --help`,
		"proxy --to ftp://a":                  `weir: proxy: --to "ftp://a": the scheme is none of http, https, h2c, h2, h3, tcp or udp; see weir proxy --help`,
		"proxy --to tcp://a":                  `weir: proxy: --to "tcp://a" has no port; write for example tcp://a:9000; see weir proxy --help`,
		"proxy --to h2c://a --to h2://a":      `weir: proxy: --to h2://a: h2c and h2 upstreams cannot stand in one cluster; write a document and use weir run; see weir proxy --help`,
		"proxy --to http://a --http3":         `weir: proxy: --http3 needs --tls-cert and --tls-key: HTTP/3 is always encrypted; see weir proxy --help`,
		"proxy --to http://a --upstream-ca c": `weir: proxy: --upstream-ca makes no sense with --to http://, which is not encrypted; write https, h2 or h3; see weir proxy --help`,
		"proxy --to udp://a:1 --tls-cert c --tls-key k":         `weir: proxy: --tls-cert makes no sense with --to udp://: datagrams are carried as they come; see weir proxy --help`,
		"proxy --to tcp://a:1 --tls-cert c --tls-key k --http3": `weir: proxy: --http3 makes no sense with --to tcp://: bytes are carried as they come; see weir proxy --help`,
		"proxy --to http://a --listen":                          `weir: flag needs an argument: --listen; see weir proxy --help`,
		"proxy --to http://a --tls-key k":                       `weir: proxy: --tls-cert and --tls-key belong together; see weir proxy --help`,
	} {
		code, out, errs := command(strings.Fields(line)...)
		if code != exitUsage || out != "" || errs != want+"\n" {
			t.Errorf("weir %s: exit %d, stdout %q, stderr\n%swant\n%s", line, code, out, errs, want)
		}
	}
}

// TestHelp: every command that a person types has an example.
func TestHelp(t *testing.T) {
	root := App{Version: "v1", Filters: filter.NewRegistry()}.root()
	for _, cmd := range append([]*cobra.Command{root}, root.Commands()...) {
		if !strings.Contains(cmd.Example, "weir") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if code, out, _ := command(strings.Fields(strings.TrimPrefix(cmd.CommandPath()+" --help", "weir"))...); code != exitOK || !strings.Contains(out, "Examples:") {
			t.Errorf("%s --help: exit %d, %q", cmd.CommandPath(), code, out)
		}
	}
}

func TestVersion(t *testing.T) {
	_, byCommand, _ := command("version")
	code, byFlag, _ := command("--version")
	if code != exitOK || byFlag != byCommand || !strings.HasPrefix(byFlag, "weir v1 go") {
		t.Errorf("exit %d, %q and %q", code, byFlag, byCommand)
	}
}

// TestCheckJSON: one JSON value, with the effective document if it was asked for.
func TestCheckJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte("listeners: [{name: a, address: \":8080\"}]\nroutes: [{name: r, respond: {body: hi}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var report struct {
		Errors   *int
		Problems []any
		Document struct {
			Drain struct{ Grace string }
		}
	}
	code, out, _ := command("check", path, "--format", "json", "--effective")
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if report.Errors == nil || *report.Errors != 0 || report.Problems == nil || report.Document.Drain.Grace != "30s" {
		t.Errorf("%s", out)
	}
	if _, out, _ := command("check", path, "--format", "json"); strings.Contains(out, "document") {
		t.Errorf("a document nobody asked for: %s", out)
	}
}
