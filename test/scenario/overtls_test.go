package scenario

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// What a document of a plain case says, and what it says over TLS.
const (
	plainFront = `{name: front, address: "unix:$WORK/front.sock"`
	plainOne   = `{name: one, `

	secureFront = plainFront + `, tls: {certificates: [{cert: {file: localhost.crt}, key: {file: localhost.key}}]}`
	secureOne   = plainOne + `tls: {ca: {file: ca.pem}, server_name: localhost}, `
)

// TestScenariosOverTLS plays the cases of one plain listener and one plain
// cluster once more with TLS on both sides: what the codec does for bytes of
// its own descriptor, it does for those of a TLS connection by other code. A
// case that cannot mean the same says "# not over TLS".
func TestScenariosOverTLS(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var chosen []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(content); strings.Contains(text, plainFront) && strings.Contains(text, plainOne) && !strings.Contains(text, "# not over TLS") {
			chosen = append(chosen, file)
		}
	}
	testscript.Run(t, testscript.Params{Files: chosen, RequireExplicitExec: true, Setup: setupOverTLS, Cmds: commands()})
}

func setupOverTLS(env *testscript.Env) error {
	a, err := newAuthority(env.WorkDir, "ca")
	if err != nil {
		return err
	}
	if err := a.leaf(env.WorkDir, "localhost"); err != nil {
		return err
	}
	for _, change := range [][2]string{{plainFront, secureFront}, {plainOne, secureOne}} {
		if err := expandDocuments(env.WorkDir, change[0], change[1]); err != nil {
			return err
		}
	}
	if err := setup(env); err != nil {
		return err
	}
	w := env.Values[worldKey{}].(*world)
	w.authorities["ca"] = a
	w.client, err = clientTLS(env.WorkDir, "localhost", "")
	if err != nil {
		return err
	}
	pair, err := keyPair(env.WorkDir, "localhost")
	w.server = &tls.Config{Certificates: pair}
	return err
}
