// Reference makes what describes the document from the types in config and in
// filters: config/comments_gen.json, docs/schema.json and docs/reference.md.
// With -check it only says whether they are fresh.
//
// It refuses a schema that takes less than the one that stands there, unless
// config.Version grew.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filters/all"
)

func main() {
	root := flag.String("root", "../..", "folder of the repository")
	check := flag.Bool("check", false, "write nothing; fail when a file is not fresh")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	comments, err := readComments(root)
	if err != nil {
		return err
	}
	filters := map[string]any{}
	for _, d := range all.Definitions() {
		filters[d.Name] = d.Settings
	}
	schema, err := config.Schema(filters, comments)
	if err != nil {
		return err
	}
	if err := refuseIncompatible(filepath.Join(root, "docs", "schema.json"), schema); err != nil {
		return err
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(comments); err != nil {
		return err
	}
	return errors.Join(
		put(root, "config/comments_gen.json", encoded.Bytes(), check),
		put(root, "docs/schema.json", schema, check),
		put(root, "docs/reference.md", markdown(config.Describe(filters, comments)), check),
	)
}

func put(root, name string, content []byte, check bool) error {
	path := filepath.Join(root, filepath.FromSlash(name))
	if !check {
		return os.WriteFile(path, content, 0o644)
	}
	there, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(there, content) {
		err = fmt.Errorf("%s is not fresh: run make generate", name)
	}
	return err
}

// refuseIncompatible compares with the schema that stands there, when both are
// of the same version.
func refuseIncompatible(path string, schema []byte) error {
	there, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if id(there) != id(schema) {
		return nil
	}
	reasons, err := config.Incompatible(there, schema)
	if err != nil {
		return err
	}
	if len(reasons) > 0 {
		return fmt.Errorf("documents that were good may be refused now; keep the old form, or make config.Version grow:\n  %s",
			strings.Join(reasons, "\n  "))
	}
	return nil
}

func id(schema []byte) string {
	var head struct {
		ID string `json:"$id"`
	}
	if json.Unmarshal(schema, &head) != nil {
		return ""
	}
	return head.ID
}
