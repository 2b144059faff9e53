package scenario

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirproxy/weir"
	"github.com/weirproxy/weir/filters/all"
)

// TestMain makes the test binary be weir when it is started under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir": func() { os.Exit(weir.Main("v0-scenario", append(all.Definitions(), faulty())...)) },
	})
}

func TestScenarios(t *testing.T) {
	filters, err := filepath.Glob("../../filters/*/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append([]string{"testdata"}, filters...) {
		if found, _ := filepath.Glob(filepath.Join(dir, "*.txtar")); len(found) == 0 {
			continue
		}
		testscript.Run(t, testscript.Params{Dir: dir, RequireExplicitExec: true, Setup: setup, Cmds: commands()})
	}
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	return map[string]command{
		"upstream": cmdUpstream, "client": cmdClient, "refused": cmdRefused, "finished": cmdFinished,
		"names": cmdNames, "await": cmdAwait, "reach": cmdReach, "certs": cmdCerts, "atlas": cmdAtlas,
		"start": cmdStart, "signal": cmdSignal, "logged": cmdLogged, "address": cmdAddress, "ended": cmdEnded, "stop": cmdStop,
		"exits": cmdExits, "panics": cmdPanics, "get": cmdGet, "admin": cmdAdmin, "json": cmdJSON, "absent": cmdAbsent,
	}
}
