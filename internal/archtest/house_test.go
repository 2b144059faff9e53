package archtest

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

// TestNames: a package is named after its idea.
func TestNames(t *testing.T) {
	for _, p := range load(t) {
		switch name := path.Base(p.path); name {
		case "util", "utils", "common", "helpers", "types", "manager", "pkg", "base", "misc", "shared", "lib":
			t.Errorf("%s: %q says nothing; name the package after the one thing it does", p.path, name)
		}
	}
}

// TestPackageComments: every package says what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range load(t) {
		documented := len(p.files) == 0 // a package of tests only
		for _, f := range p.files {
			documented = documented || f.Doc != nil
		}
		if !documented {
			t.Errorf("%s has no package comment: say what it is for, who calls it and what it never does", p.path)
		}
	}
}

// TestNoInit: what a binary contains is a list that is passed along.
func TestNoInit(t *testing.T) {
	for _, p := range load(t) {
		for file, f := range p.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s has an init function: pass what it sets up to the one who needs it", p.path, file)
				}
			}
		}
	}
}

// TestFilesAreRooms: a file of more than 700 lines holds more than one concern.
func TestFilesAreRooms(t *testing.T) {
	for _, p := range load(t) {
		for file, n := range p.lines {
			if n > 700 && !strings.HasSuffix(file, "_gen.go") {
				t.Errorf("%s/%s has %d lines: split it by concern", p.path, file, n)
			}
		}
	}
}

// TestNoSleepInTests: tests wait for events, or run in a synctest bubble.
func TestNoSleepInTests(t *testing.T) {
	for _, p := range load(t) {
		for file, f := range p.tests {
			if !imports(f, "testing/synctest") && sleeps(f) {
				t.Errorf("%s/%s calls time.Sleep outside of synctest: wait for the event itself", p.path, file)
			}
		}
	}
}

func imports(f *ast.File, path string) bool {
	for _, spec := range f.Imports {
		if spec.Path.Value == `"`+path+`"` {
			return true
		}
	}
	return false
}

func sleeps(f *ast.File) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" {
				found = true
			}
		}
		return !found
	})
	return found
}

// TestLeakChecks: each stage proves that it leaves no goroutine behind.
func TestLeakChecks(t *testing.T) {
	for _, p := range load(t) {
		if floorOf(p.path) != stages || !strings.HasPrefix(p.path, "internal/proxy/") {
			continue
		}
		checked := false
		for _, f := range p.tests {
			checked = checked || imports(f, "go.uber.org/goleak")
		}
		if !checked {
			t.Errorf("%s has no goroutine-leak check: add TestMain with goleak.VerifyTestMain", p.path)
		}
	}
}
