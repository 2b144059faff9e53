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
		"weir": func() { os.Exit(weir.Main("v0-scenario", all.Definitions()...)) },
	})
}

func TestScenarios(t *testing.T) {
	dirs := []string{"testdata"}
	filters, err := filepath.Glob("../../filters/*/testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(dirs, filters...) {
		if found, _ := filepath.Glob(filepath.Join(dir, "*.txtar")); len(found) == 0 {
			continue
		}
		testscript.Run(t, testscript.Params{
			Dir: dir, RequireExplicitExec: true, Setup: setup,
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"upstream": cmdUpstream, "client": cmdClient, "start": cmdStart, "signal": cmdSignal, "logged": cmdLogged,
				"stop": cmdStop, "get": cmdGet, "admin": cmdAdmin, "finished": cmdFinished,
			},
		})
	}
}
