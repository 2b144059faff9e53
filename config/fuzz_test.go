package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirproxy/weir/config"
)

// FuzzParse: no input makes Parse panic; every error has a place; what reads
// well reads the same again after it was written with all defaults.
func FuzzParse(f *testing.F) {
	cases, _ := filepath.Glob("testdata/bad/*.txtar")
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	content, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte("x-a: &a {timeout: 1s}\nroutes: [{<<: *a, name: r}]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		d, problems := config.Parse("f.yaml", content)
		if d == nil && problems.Errors() == 0 {
			t.Fatal("no document, and no reason")
		}
		lines := 1
		for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML 1.1 section 4.2
			lines += bytes.Count(content, []byte(lineBreak))
		}
		for _, p := range problems {
			if p.Pos.Line > lines+1 || p.What == "" {
				t.Fatalf("%+v in %d lines", p, lines)
			}
		}
		if d == nil {
			return
		}
		text, err := config.Effective(d)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := config.Parse("f.yaml", text)
		if len(problems) > 0 || again == nil {
			t.Fatalf("%v\n%s", problems, text)
		}
		d.Broken = nil
		if diff := cmp.Diff(d, again, withoutPlaces()); diff != "" {
			t.Fatalf("-written +read\n%s", diff)
		}
	})
}
