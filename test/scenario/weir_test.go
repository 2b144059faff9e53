package scenario

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	usage(ts, neg || w.weir != nil && !w.weir.ended(), "start ARGS...; one at a time")
	p, err := startProcess(ts.Getenv("PATH"), ts.MkAbs("."), args)
	ts.Check(err)
	w.weir = p
	ts.Setenv("PID", strconv.Itoa(p.cmd.Process.Pid))
	if _, err := p.waitFor("serving"); err != nil {
		ts.Fatalf("%v\n%s", err, p.log.String())
	}
}

func running(ts *testscript.TestScript) *process {
	if p := worldOf(ts).weir; p != nil {
		return p
	}
	ts.Fatalf("weir was not started")
	return nil
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	usage(ts, neg || len(args) != 1 || signals[args[0]] == 0, "signal HUP|USR1|TERM|INT|KILL")
	ts.Check(running(ts).cmd.Process.Signal(signals[args[0]]))
}

func waitFor(ts *testscript.TestScript, text string) string {
	rest, err := running(ts).waitFor(text)
	if err != nil {
		ts.Fatalf("%v\n%s", err, running(ts).log.String())
	}
	return rest
}

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	early := len(args) > 0 && args[0] == "-early"
	if early {
		args = args[1:]
	}
	usage(ts, neg || len(args) != 1, "logged [-early] TEXT")
	if early && strings.Contains(running(ts).log.String(), args[0]) {
		return
	}
	waitFor(ts, args[0])
}

func cmdAddress(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "address LISTENER")
	all := running(ts).log.String()
	mark := "listener=" + args[0] + " address="
	if args[0] == "admin" {
		mark = "\"admin pages\" address="
	}
	_, rest, found := strings.Cut(all, mark)
	if !found {
		rest = waitFor(ts, mark)
	}
	address, _, _ := strings.Cut(rest, "\n")
	ts.Setenv(args[0]+"_ADDR", address)
}

func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "ended CODE")
	p := running(ts)
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("weir does not end\n%s", p.log.String())
	}
	said := p.log.String()
	ts.Check(os.WriteFile(ts.MkAbs("out.txt"), p.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err.txt"), []byte(said), 0o600))
	if code := p.cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("weir ended with exit code %d\n%s", code, said)
	}
	if strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic") != worldOf(ts).panics {
		ts.Fatalf("a race, a panic, or none although the case makes one\n%s", said)
	}
}

func cmdPanics(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 0, "panics")
	worldOf(ts).panics = true
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 0, "stop")
	ts.Check(running(ts).cmd.Process.Signal(syscall.SIGTERM))
	cmdEnded(ts, neg, []string{"0"})
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "exits CODE ARGS...")
	code := 0
	if err := ts.Exec("weir", args[1:]...); err != nil {
		ended := (*exec.ExitError)(nil)
		if !errors.As(err, &ended) {
			ts.Fatalf("weir: %v", err)
		}
		code = ended.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d", code)
	}
}

func cmdGet(ts *testscript.TestScript, neg bool, args []string) { curl(ts, neg, "front.sock", args) }

func cmdAdmin(ts *testscript.TestScript, neg bool, args []string) {
	curl(ts, neg, "admin.sock", args)
}

// curl passes its arguments on, which may say another version than HTTP/1.1; the
// last one is a path or a URL.
func curl(ts *testscript.TestScript, neg bool, socket string, args []string) {
	usage(ts, len(args) == 0, "get [curl flags] URL")
	all := []string{"-sS", "-i", "--http1.1", "--max-time", "20", "--path-as-is", "--unix-socket", ts.MkAbs(socket)}
	last := len(args) - 1
	url := args[last]
	scheme, host, _ := strings.Cut(url, "://")
	switch host, _, _ = strings.Cut(host, "/"); {
	case url[0] == '/' || url[0] == '*':
		scheme = "http"
		if worldOf(ts).client != nil && socket == "front.sock" {
			scheme = "https"
		}
		url = scheme + "://localhost" + url
	case isAddress(host):
		all = all[:len(all)-2]
	}
	if scheme == "https" {
		all = append(all, "--cacert", ts.MkAbs("ca.pem"))
	}
	err := ts.Exec("curl", append(append(all, args[:last]...), url)...)
	if neg == (err == nil) {
		ts.Fatalf("curl: %v", err)
	}
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "json N FILE")
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[1]), "\n"), "\n")
	if strconv.Itoa(len(lines)) != args[0] {
		ts.Fatalf("%d lines\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
	}
}

func cmdAbsent(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) < 2, "absent TEXT FILE...")
	for _, name := range args[1:] {
		if content := ts.ReadFile(name); strings.Contains(content, args[0]) {
			ts.Fatalf("%q stands in %s:\n%s", args[0], name, content)
		}
	}
}
