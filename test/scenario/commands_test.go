package scenario

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// world is what the commands of one case share.
type world struct {
	words       *words
	playing     map[string]player // upstreams, and clients in the background
	weir        *process
	panics      bool // the case makes weir panic
	authorities map[string]*authority

	client, server *tls.Config // of front.sock and of upstreams; nil: in the clear
}

// player is who plays a script beside the case.
type player interface {
	wait() error
	close()
}

type worldKey struct{}

func setup(env *testscript.Env) error {
	if err := expandDocuments(env.WorkDir, "$WORK", env.WorkDir); err != nil {
		return err
	}
	w := &world{words: newWords(), playing: map[string]player{}, authorities: map[string]*authority{}}
	env.Values[worldKey{}] = w
	env.Defer(func() {
		if w.weir != nil {
			w.weir.kill()
		}
		for _, p := range w.playing {
			p.close()
		}
	})
	return nil
}

// expandDocuments writes a value for a name in the documents of the case: the
// path of a Unix socket is absolute, and a port is known late.
func expandDocuments(dir, name, value string) error {
	documents, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, document := range documents {
		content, err := os.ReadFile(document)
		if err != nil {
			return err
		}
		if !bytes.Contains(content, []byte(name)) {
			continue
		}
		content = bytes.ReplaceAll(content, []byte(name), []byte(value))
		if err := os.WriteFile(document, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// usage ends a case that misuses a command.
func usage(ts *testscript.TestScript, wrong bool, form string) {
	if wrong {
		ts.Fatalf("usage: %s", form)
	}
}

// flags takes "-name value" pairs off the front of args.
func flags(args []string, names ...string) (values map[string]string, rest []string) {
	values = map[string]string{}
	for len(args) > 1 {
		known := false
		for _, name := range names {
			if args[0] == "-"+name {
				values[name], args, known = args[1], args[2:], true
				break
			}
		}
		if !known {
			break
		}
	}
	return values, args
}

func cmdFinished(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1 || worldOf(ts).playing[args[0]] == nil, "finished NAME")
	if err := worldOf(ts).playing[args[0]].wait(); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "await WORD")
	ts.Check(worldOf(ts).words.await(args[0]))
}

func cmdReach(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 1, "reach WORD")
	worldOf(ts).words.reach(args[0])
}

func cmdCerts(ts *testscript.TestScript, neg bool, args []string) {
	set, leaves := flags(args, "ca")
	usage(ts, neg || len(leaves) == 0, "certs [-ca NAME] LEAF[=SAN,...]...")
	name, dir, w := "ca", ts.MkAbs("."), worldOf(ts)
	if set["ca"] != "" {
		name = set["ca"]
	}
	if w.authorities[name] == nil {
		a, err := newAuthority(dir, name)
		ts.Check(err)
		w.authorities[name] = a
	}
	for _, leaf := range leaves {
		ts.Check(w.authorities[name].leaf(dir, leaf))
	}
}

func isAddress(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err == nil
}
