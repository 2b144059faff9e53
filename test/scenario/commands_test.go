package scenario

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// world is what the commands of one case share.
type world struct {
	upstreams map[string]*upstream
	weir      *process
}

type worldKey struct{}

func setup(env *testscript.Env) error {
	if err := expandWork(env.WorkDir); err != nil {
		return err
	}
	w := &world{upstreams: map[string]*upstream{}}
	env.Values[worldKey{}] = w
	env.Defer(func() {
		if w.weir != nil {
			w.weir.kill()
		}
		for _, u := range w.upstreams {
			u.close()
		}
	})
	return nil
}

// expandWork writes the directory of the case for $WORK into its documents:
// the path of a Unix socket is absolute.
func expandWork(dir string) error {
	documents, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range documents {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		content = bytes.ReplaceAll(content, []byte("$WORK"), []byte(dir))
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: upstream NAME SCRIPT")
	}
	u, err := startUpstream(ts.MkAbs(args[0]+".sock"), ts.ReadFile(args[1]))
	ts.Check(err)
	worldOf(ts).upstreams[args[0]] = u
}

func cmdFinished(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || worldOf(ts).upstreams[args[0]] == nil {
		ts.Fatalf("usage: finished NAME")
	}
	if err := worldOf(ts).upstreams[args[0]].wait(); err != nil {
		ts.Fatalf("upstream %s: %v", args[0], err)
	}
}

func cmdClient(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: client SOCKET SCRIPT")
	}
	parts, err := parse(ts.ReadFile(args[1]))
	ts.Check(err)
	for _, p := range parts {
		conn, err := net.DialTimeout("unix", ts.MkAbs(args[0]), patience)
		ts.Check(err)
		err = p.play(conn)
		conn.Close()
		if err != nil {
			ts.Fatalf("client %s: %v", args[1], err)
		}
	}
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || w.weir != nil {
		ts.Fatalf("usage: start ARGS...; once per case")
	}
	p, err := startProcess(ts.Getenv("PATH"), ts.MkAbs("."), args)
	ts.Check(err)
	w.weir = p
	if err := p.waitFor("serving", patience); err != nil {
		ts.Fatalf("weir: %v\n%s", err, p.output())
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
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "TERM": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal HUP|USR1|TERM")
	}
	ts.Check(running(ts).cmd.Process.Signal(signals[args[0]]))
}

func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: logged TEXT")
	}
	if err := running(ts).waitFor(args[0], patience); err != nil {
		ts.Fatalf("%v\n%s", err, running(ts).output())
	}
}

func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	p := running(ts)
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("weir did not end after TERM\n%s", p.output())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("weir ended with exit code %d\n%s", code, p.output())
	}
}

func cmdGet(ts *testscript.TestScript, neg bool, args []string) { curl(ts, neg, "front.sock", args) }

func cmdAdmin(ts *testscript.TestScript, neg bool, args []string) {
	curl(ts, neg, "admin.sock", args)
}

// curl passes its arguments on; the last one is a path.
func curl(ts *testscript.TestScript, neg bool, socket string, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: get [curl flags] PATH")
	}
	last := len(args) - 1
	if last >= 2 && args[0] == "-s" {
		socket, args, last = args[1], args[2:], last-2
	}
	full := append([]string{"-sS", "-i", "--max-time", "20", "--path-as-is", "--unix-socket", ts.MkAbs(socket)}, args[:last]...)
	err := ts.Exec("curl", append(full, "http://localhost"+args[last])...)
	if neg == (err == nil) {
		ts.Fatalf("curl: %v", err)
	}
}
