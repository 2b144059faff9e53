package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// What a file may cost. 100,000 routes stay below. What an alias names counts
// as often as it is used, and a file may repeat about as much as it writes: a
// few lines cannot stand for millions of nodes.
const (
	maxFileBytes = 16 << 20
	maxNodes     = 4 << 20
	maxRepeated  = 100_000 // and one more for each node that is written
	maxDepth     = 100
)

// complain is how readers say what is wrong and where.
type complain func(line, col int32, what, fix string)

// readTrees reads every YAML document of a file; JSON is YAML too. It says
// whether the file could be read.
func readTrees(file string, content []byte, report complain) ([]*tree, bool) {
	if len(content) > maxFileBytes {
		report(0, 0, fmt.Sprintf("the file has %d bytes, the limit is %v", len(content), Size(maxFileBytes)), "split it")
		return nil, false
	}
	if !readable(content, report) {
		return nil, false
	}
	if strings.HasSuffix(file, ".json") {
		if offset, err := jsonError(content); err != nil {
			line, col := lineAndColumn(content, offset)
			report(line, col, "this is not JSON: "+err.Error(), "")
			return nil, false
		}
	}
	if bytes.Contains(content, []byte(`\/`)) || bytes.Contains(content, []byte(`\u`)) {
		content = escapesOfJSON(content)
	}
	return readYAML(content, report)
}

func readYAML(content []byte, report complain) (trees []*tree, ok bool) {
	defer func() { // a defect of the library must not end the process
		if r := recover(); r != nil {
			report(0, 0, fmt.Sprintf("this cannot be read as YAML: %v", r), "")
			trees, ok = nil, false
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	reader := treeReader{report: report, ok: true, done: map[*yaml.Node]*tree{}}
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return trees, reader.ok
		}
		if err != nil {
			syntaxError(content, err, report)
			return nil, false
		}
		if root := reader.read(&document, 0); root != nil {
			trees = append(trees, root)
		}
		if !reader.ok {
			return nil, false
		}
	}
}

// readable refuses what is not text: invalid UTF-8 and control characters.
func readable(content []byte, report complain) bool {
	for i := 0; i < len(content); {
		r, n := utf8.DecodeRune(content[i:])
		if r == utf8.RuneError && n == 1 {
			line, col := lineAndColumn(content, i)
			report(line, col, fmt.Sprintf("byte 0x%02x is not valid UTF-8", content[i]), "save the file as UTF-8")
			return false
		}
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			line, col := lineAndColumn(content, i)
			report(line, col, fmt.Sprintf("control character 0x%02x", r), "remove it, or write it as an escape in double quotes")
			return false
		}
		i += n
	}
	return true
}

func lineAndColumn(content []byte, offset int) (line, col int32) {
	before := content[:min(offset, len(content))]
	line = int32(bytes.Count(before, []byte{'\n'})) + 1
	col = int32(utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])) + 1
	return line, col
}

// syntaxError puts a place to what the library says ("yaml: line 3: ...").
func syntaxError(content []byte, err error, report complain) {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(what); m != nil {
		line, _ = strconv.Atoi(m[1])
		what = what[len(m[0]):]
	}
	if bad := firstBadLine(content); bad > 0 {
		line = bad
	}
	text := lineText(content, line)
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
		report(int32(line), int32(tab)+1, "a tab indents this line: "+quote(text), "indent with spaces")
		return
	}
	report(int32(line), int32(len(indent))+1, "this is not YAML: "+what+": "+quote(strings.TrimSpace(text)), "")
}

// searchBudget bounds, in bytes read, the work of firstBadLine.
const searchBudget = 4 << 20

// firstBadLine is the line after the longest beginning of the file that reads
// well, or 0 when it is too far from the end. The library's own line is where
// the surrounding part began.
func firstBadLine(content []byte) int {
	lines := bytes.SplitAfter(content, []byte{'\n'})
	end := len(content)
	for n, budget := len(lines), searchBudget; n > 0; n-- {
		end -= len(lines[n-1])
		if budget -= end; budget < 0 {
			return 0
		}
		var ignored yaml.Node
		if yaml.Unmarshal(content[:end], &ignored) == nil {
			return n
		}
	}
	return 1
}

func lineText(content []byte, line int) string {
	for range line - 1 {
		_, rest, found := bytes.Cut(content, []byte{'\n'})
		if !found {
			return ""
		}
		content = rest
	}
	text, _, _ := bytes.Cut(content, []byte{'\n'})
	return strings.TrimRight(string(text), "\r")
}

// treeReader turns the nodes of the library into trees.
type treeReader struct {
	report complain
	ok     bool
	nodes  int                  // written
	repeat int                  // by aliases
	done   map[*yaml.Node]*tree // anchors; nil while one is being read
}

func (r *treeReader) fail(n *yaml.Node, what, fix string) *tree {
	if r.ok { // the first is enough: the file as a whole is refused
		r.report(int32(n.Line), int32(n.Column), what, fix)
	}
	r.ok = false
	return nil
}

// read returns nil after an error.
func (r *treeReader) read(n *yaml.Node, depth int) *tree {
	if !r.ok {
		return nil
	}
	if depth > maxDepth {
		return r.fail(n, fmt.Sprintf("more than %d levels", maxDepth), "")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.read(n.Content[0], depth)
	case yaml.AliasNode:
		return r.alias(n, depth)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return r.fail(n, "the tag "+quote(n.Tag)+" has no meaning here", "remove it")
	}
	if r.nodes++; r.nodes > maxNodes {
		return r.fail(n, fmt.Sprintf("more than %d values", maxNodes), "split the file")
	}
	if n.Anchor != "" {
		r.done[n] = nil
	}
	t := &tree{line: int32(n.Line), col: int32(n.Column), size: 1}
	switch n.Kind {
	case yaml.ScalarNode:
		t.kind, t.text = scalar, n.Value
		t.plain = n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	case yaml.SequenceNode:
		r.list(t, n, depth)
	case yaml.MappingNode:
		r.mapping(t, n, depth)
	}
	if n.Anchor != "" {
		r.done[n] = t
	}
	if !r.ok {
		return nil
	}
	return t
}

func (r *treeReader) alias(n *yaml.Node, depth int) *tree {
	t := r.done[n.Alias]
	if t == nil {
		return r.fail(n, "the alias *"+n.Value+" stands inside of what it names", "")
	}
	if r.repeat += int(t.size); r.repeat > maxRepeated+r.nodes {
		return r.fail(n, fmt.Sprintf("aliases repeat more than %d values", maxRepeated), "use fewer aliases")
	}
	if depth+int(t.height) > maxDepth {
		return r.fail(n, fmt.Sprintf("more than %d levels", maxDepth), "")
	}
	return t
}

func (r *treeReader) list(t *tree, n *yaml.Node, depth int) {
	t.kind, t.items = list, make([]*tree, 0, len(n.Content))
	for _, item := range n.Content {
		if child := r.read(item, depth+1); child != nil {
			t.items = append(t.items, child)
			t.grow(child)
		}
	}
}

func (r *treeReader) mapping(t *tree, n *yaml.Node, depth int) {
	t.kind, t.entries = mapping, make([]entry, 0, len(n.Content)/2)
	var merged []*tree
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.fail(key, "a key must be a word", "")
			return
		}
		child := r.read(n.Content[i+1], depth+1)
		if child == nil {
			return
		}
		t.grow(child)
		if key.Value == "<<" && key.Tag == "!!merge" {
			merged = append(merged, r.mergeSources(key, child)...)
			continue
		}
		t.entries = append(t.entries, entry{key.Value, int32(key.Line), int32(key.Column), child})
	}
	for _, source := range merged {
		t.merge(source)
	}
}

// mergeSources are the mappings that << names: one, or a list.
func (r *treeReader) mergeSources(key *yaml.Node, value *tree) []*tree {
	sources := []*tree{value}
	if value.kind == list {
		sources = value.items
	}
	for _, source := range sources {
		if source.kind != mapping {
			r.fail(key, "<< takes a mapping or a list of mappings, and "+source.noun()+" stands here", "")
			return nil
		}
	}
	return sources
}

// merge adds the entries of source whose keys are not there yet.
func (t *tree) merge(source *tree) {
	have := make(map[string]bool, len(t.entries))
	for i := range t.entries {
		have[t.entries[i].key] = true
	}
	for _, e := range source.entries {
		if !have[e.key] {
			t.entries = append(t.entries, e)
		}
	}
}

// grow counts a child.
func (t *tree) grow(child *tree) {
	t.size += child.size
	t.height = max(t.height, child.height+1)
}

// writeYAML prints a tree, in the order in which it is.
func writeYAML(t *tree) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(yamlNode(t)); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func yamlNode(t *tree) *yaml.Node {
	switch t.kind {
	case list:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range t.items {
			n.Content = append(n.Content, yamlNode(item))
		}
		if len(t.items) == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	case mapping:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, e := range t.entries {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.key}, yamlNode(e.value))
		}
		if len(t.entries) == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	}
	if t.plain {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: t.text}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t.text}
}
