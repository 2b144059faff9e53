package examples

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

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

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: links inside the repository lead to a file, and to a heading that
// is there.
func TestLinks(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md", "../../examples/README.md")
	checked := 0
	for _, file := range files {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			checked++
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			} else if anchor != "" && !anchors(read(t, target))[anchor] {
				t.Errorf("%s links to %s: there is no such heading", file, m[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d links: the search is broken", checked)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	byHand  = regexp.MustCompile(`id="([^"]+)"`)
)

// anchors are the places of a Markdown file that a link can lead to.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		found[slug] = true
	}
	for _, m := range byHand.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}
