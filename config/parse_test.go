package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirproxy/weir/config"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// TestBadDocuments: each case is a document, or several, and what is said
// about it. Golden: -update writes what comes out; read the difference.
func TestBadDocuments(t *testing.T) {
	cases, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(cases) < 30 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { badDocument(t, file) })
	}
}

func badDocument(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got, want strings.Builder
	var documents []*config.Document
	var inputs []txtar.File
	for _, f := range archive.Files {
		if f.Name == "problems" {
			want.Write(f.Data)
			continue
		}
		inputs = append(inputs, f)
		d, problems := config.Parse(f.Name, f.Data)
		documents = append(documents, d)
		if d == nil {
			fmt.Fprintf(&got, "no document: %s\n", f.Name)
		}
		printProblems(&got, problems)
	}
	merged, problems := config.Merge(documents...)
	printProblems(&got, problems)
	for _, b := range merged.Broken {
		fmt.Fprintf(&got, "broken: %s %s\n", b.Kind, b.Name)
	}
	if got.Len() == 0 {
		t.Error("nothing is wrong with it")
	}
	if *update {
		archive.Files = append(inputs, txtar.File{Name: "problems", Data: []byte(got.String())})
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func printProblems(out *strings.Builder, problems config.Problems) {
	for _, p := range problems {
		if p.Object != "" {
			fmt.Fprintf(out, "[%s] ", p.Object)
		}
		fmt.Fprintln(out, p)
	}
}
