package examples

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
)

// TestDocumentation: every ```yaml block is read by the same code as a
// document, and a whole document (one that begins with listeners:) passes weir
// check without an error.
func TestDocumentation(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md")
	whole := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line, block := range yamlBlocks(string(content)) {
			name := fmt.Sprintf("%s:%d", filepath.Base(file), line)
			t.Run(name, func(t *testing.T) {
				if _, problems := config.Parse(name, []byte(block)); problems.Errors() > 0 {
					t.Errorf("%v", problems)
				}
			})
			if strings.HasPrefix(block, "listeners:") {
				whole++
				t.Run(name+"/check", func(t *testing.T) { check(t, block) })
			}
		}
	}
	if whole < 10 {
		t.Errorf("%d whole documents in %d files: the search is broken", whole, len(files))
	}
}

// yamlBlocks are the ```yaml blocks by the line of their first line.
func yamlBlocks(text string) map[int]string {
	blocks := map[int]string{}
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) != "```yaml" {
			continue
		}
		first := i + 2 // lines count from 1
		var block strings.Builder
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			block.WriteString(lines[i])
		}
		blocks[first] = block.String()
	}
	return blocks
}

// check runs weir check on a document and returns what it says.
func check(t *testing.T, document string) string {
	t.Helper()
	file := filepath.Join(folder(t), "weir.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("weir", "check", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("weir check: %v\n%s", err, out.String())
	}
	return out.String()
}
