package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weirproxy/weir"

// pkg is one package of the repository as it is written: no build tags, no
// type checking.
type pkg struct {
	path    string // below the module: "internal/proxy/route"; "" for the root
	files   map[string]*ast.File
	tests   map[string]*ast.File
	lines   map[string]int
	imports map[string]string // import path -> the file that has it, tests left out
}

// load reads every package of the main module.
func load(t *testing.T) []pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	byPath := map[string]*pkg{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || hasModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") {
			return add(byPath, root, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(byPath) < 10 {
		t.Fatalf("found %d packages: the walk is broken", len(byPath))
	}
	list := make([]pkg, 0, len(byPath))
	for _, p := range byPath {
		list = append(list, *p)
	}
	return list
}

func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func add(byPath map[string]*pkg, root, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, content, parser.ParseComments)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root, filepath.Dir(file))
	if err != nil {
		return err
	}
	if rel == "." {
		rel = ""
	}
	rel = filepath.ToSlash(rel)
	p := byPath[rel]
	if p == nil {
		p = &pkg{path: rel, files: map[string]*ast.File{}, tests: map[string]*ast.File{}, lines: map[string]int{}, imports: map[string]string{}}
		byPath[rel] = p
	}
	name := filepath.Base(file)
	if strings.HasSuffix(name, "_test.go") {
		p.tests[name] = parsed
		return nil
	}
	p.files[name] = parsed
	p.lines[name] = strings.Count(string(content), "\n")
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		p.imports[path] = name
	}
	return nil
}

// inside cuts the module from an import path of ours.
func inside(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}
