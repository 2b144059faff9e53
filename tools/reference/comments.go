package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirproxy/weir/config"
)

// readComments reads the comments of the structs of config and of each filter.
func readComments(root string) (config.Comments, error) {
	folders := []string{"config"}
	filters, err := filepath.Glob(filepath.Join(root, "filters", "*"))
	if err != nil {
		return nil, err
	}
	for _, folder := range filters {
		folders = append(folders, "filters/"+filepath.Base(folder))
	}
	comments := config.Comments{}
	for _, folder := range folders {
		if err := readFolder(comments, root, folder); err != nil {
			return nil, err
		}
	}
	return comments, nil
}

func readFolder(comments config.Comments, root, folder string) error {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("reading comments: %w", err)
		}
		for _, declaration := range parsed.Decls {
			if types, ok := declaration.(*ast.GenDecl); ok && types.Tok == token.TYPE {
				readTypes(comments, folder, types)
			}
		}
	}
	return nil
}

func readTypes(comments config.Comments, folder string, types *ast.GenDecl) {
	for _, spec := range types.Specs {
		named, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		structure, ok := named.Type.(*ast.StructType)
		if !ok || !named.Name.IsExported() {
			continue
		}
		doc := named.Doc
		if doc == nil {
			doc = types.Doc
		}
		key := folder + "." + named.Name.Name
		comments[key] = oneLine(doc)
		for _, field := range structure.Fields.List {
			readField(comments, key, field)
		}
	}
}

// readField takes what a document may set: exported, with a yaml tag.
func readField(comments config.Comments, structure string, field *ast.Field) {
	if field.Tag == nil || !strings.Contains(field.Tag.Value, "yaml:") || strings.Contains(field.Tag.Value, `yaml:"-"`) {
		return
	}
	for _, name := range field.Names {
		comments[structure+"."+name.Name] = oneLine(field.Doc)
	}
}

func oneLine(doc *ast.CommentGroup) string {
	return strings.Join(strings.Fields(doc.Text()), " ")
}
