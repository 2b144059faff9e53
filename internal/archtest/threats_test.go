package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	namedTest     = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	namedScenario = regexp.MustCompile("`([a-z0-9_]+\\.txtar)`")
	namedFile     = regexp.MustCompile("`([a-z]+/[a-z0-9_/]+\\.go)`")
)

// TestThreatsPage: docs/threats.md names tests, scenarios and files that are
// there, in each row that applies, and leaves out no scenario about a threat.
func TestThreatsPage(t *testing.T) {
	content, err := os.ReadFile("../../docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	tests := testsByPackage(t)
	for _, m := range namedTest.FindAllStringSubmatch(page, -1) {
		if !tests[m[1]+"."+m[2]] {
			t.Errorf("docs/threats.md names %s.%s, which is not there: name the test that took its place", m[1], m[2])
		}
	}
	scenarios := scenarioNames(t)
	named := map[string]bool{}
	for _, m := range namedScenario.FindAllStringSubmatch(page, -1) {
		named[m[1]] = true
		if !slices.Contains(scenarios, m[1]) {
			t.Errorf("docs/threats.md names %s, which is not in test/scenario/testdata", m[1])
		}
	}
	for _, s := range scenarios {
		class, _, _ := strings.Cut(s, "_")
		if slices.Contains([]string{"smuggling", "slow", "canonical", "identity", "threat"}, class) && !named[s] {
			t.Errorf("docs/threats.md does not name %s: put it in the row whose defence it proves", s)
		}
	}
	for _, m := range namedFile.FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("docs/threats.md says that a defence is in %s: %v", m[1], err)
		}
	}
	rows := checkRows(t, page)
	if rows < 30 {
		t.Errorf("docs/threats.md has %d rows with a defence: the search is broken", rows)
	}
}

// checkRows wants a test in each row that does not say that it does not apply,
// and counts them.
func checkRows(t *testing.T, page string) (rows int) {
	for _, line := range strings.Split(page, "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || strings.HasPrefix(line, "| class") {
			continue
		}
		open := strings.Contains(cells[2], "not apply yet") || strings.Contains(cells[2], "nothing to switch on")
		if proved := strings.Contains(cells[4], "`"); proved == open {
			t.Errorf("docs/threats.md: %s: name its test, or say why it does not apply", cells[0])
		}
		if !open {
			rows++
		}
	}
	return rows
}

// testsByPackage has "package.TestName" of every test and fuzz target.
func testsByPackage(t *testing.T) map[string]bool {
	found := map[string]bool{}
	for _, p := range load(t) {
		for _, f := range p.tests {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
					found[path.Base(p.path)+"."+fn.Name.Name] = true
				}
			}
		}
	}
	return found
}

func scenarioNames(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"../../test/scenario/testdata/*.txtar", "../../filters/*/testdata/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}

// TestNoUnboundedReads: what a peer or a file sends is never read whole without
// a bound (CVE-2026-26998, CVE-2026-54247).
func TestNoUnboundedReads(t *testing.T) {
	for _, p := range load(t) {
		if floorOf(p.path) == tests || p.path == "filter/filtertest" {
			continue
		}
		for file, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				switch name := calledName(call); {
				case name == "io.ReadAll" && !isCallOf(call.Args[0], "io.LimitReader"):
					t.Errorf("%s/%s calls io.ReadAll without a bound: put io.LimitReader around its reader", p.path, file)
				case name == "os.ReadFile":
					t.Errorf("%s/%s calls os.ReadFile, which has no bound: open the file and read it through io.LimitReader", p.path, file)
				}
				return true
			})
		}
	}
}

// calledName is "package.Function" of a call.
func calledName(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + sel.Sel.Name
}

func isCallOf(e ast.Expr, name string) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && calledName(call) == name
}
