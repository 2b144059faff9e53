package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filters/all"
)

const golden = "../docs/schema.json"

// filters are those of a standard build.
func filters() map[string]any {
	settings := map[string]any{}
	for _, d := range all.Definitions() {
		settings[d.Name] = d.Settings
	}
	return settings
}

func currentSchema(t *testing.T) []byte {
	t.Helper()
	text, err := config.Schema(filters(), config.EmbeddedComments())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSchemaIsFresh: docs/schema.json is the form that people were promised. A
// change that takes less needs a new config.Version.
func TestSchemaIsFresh(t *testing.T) {
	promised, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	current := currentSchema(t)
	if bytes.Equal(promised, current) {
		return
	}
	var head struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(promised, &head); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(current), `"`+head.ID+`"`) {
		reasons, err := config.Incompatible(promised, current)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range reasons {
			t.Errorf("a document that was good may be refused: %s; keep the old form, or make config.Version grow", reason)
		}
	}
	t.Error("docs/schema.json is not what the types say: run make generate")
}

func TestEveryFieldHasAComment(t *testing.T) {
	for _, s := range config.Describe(filters(), config.EmbeddedComments()) {
		if s.Comment == "" {
			t.Errorf("%s has no comment, or make generate did not run", s.Name)
		}
		for _, f := range s.Fields {
			if f.Comment == "" {
				t.Errorf("%s.%s has no comment, or make generate did not run", s.Name, f.Key)
			}
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(currentSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("weir.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("weir.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate reads as an editor does: without our decoder.
func validate(t *testing.T, schema *jsonschema.Schema, content []byte) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(content, &value); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(instance)
}

// TestSchemaTakesWhatTheDecoderTakes, examples included.
func TestSchemaTakesWhatTheDecoderTakes(t *testing.T) {
	schema := compiled(t)
	files := []string{"testdata/everything.yaml"}
	err := filepath.WalkDir("../examples", func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, problems := config.Parse(file, content)
		for _, p := range problems {
			t.Error(p)
		}
		if file == "testdata/everything.yaml" { // its filters are invented
			d.Routes[0].Filters = nil
		}
		if err := validate(t, schema, effective(t, d)); err != nil {
			t.Errorf("%s with its defaults: %v", file, err)
		}
		if file == "testdata/everything.yaml" {
			continue
		}
		if err := validate(t, schema, content); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func effective(t *testing.T, d *config.Document) []byte {
	t.Helper()
	text, err := config.Effective(d)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSchemaRefuses: what the schema must find by itself, in an editor. The
// rest of the bad documents only the decoder knows to refuse.
func TestSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	for _, name := range []string{
		"unknown_field", "unknown_top", "nested_unknown", "duration_no_unit", "duration_wrong_unit", "duration_negative", "size_unit",
		"enum", "int_text", "int_bounds", "float", "null_object", "null_item", "list_wanted", "mapping_wanted", "scalar_wanted",
		"objects_as_mapping", "name_missing", "name_bad", "required", "secret_plain", "secret_two", "filter_two_names", "endpoint",
	} {
		archive, err := txtar.ParseFile("testdata/bad/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if validate(t, schema, archive.Files[0].Data) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestIncompatible(t *testing.T) {
	old := `{"properties":{"a":{"type":["string","number"]},"b":{"enum":["x","y"]},"c":{"$ref":"#/$defs/size"},
		"d":{"type":"integer","minimum":0,"maximum":9}},"additionalProperties":false,"$defs":{"size":{"anyOf":[{"type":"string"}]}}}`
	for change, want := range map[string]string{
		`"a"=>"z"`:                        ".a: is gone",
		`["string","number"]=>["string"]`: ".a: type number is gone",
		`["string","number"]=>["string","number","null"]`: "",
		`"x",=>`:                                        ".b: enum x is gone",
		`"x",=>"w","x",`:                                "",
		`#/$defs/size=>#/$defs/rate`:                    ".c: $ref went from #/$defs/size to #/$defs/rate",
		`"minimum":0=>"minimum":1`:                      ".d: minimum went from 0 to 1",
		`"maximum":9=>"maximum":8`:                      ".d: maximum went from 9 to 8",
		`"maximum":9=>"maximum":10`:                     "",
		`,"maximum":9=>`:                                "",
		`"minimum":0,=>"minimum":0,"multipleOf":2,`:     ".d: multipleOf is new: 2",
		`{"properties"=>{"required":["a"],"properties"`: ": required is new: [a]",
		`{"type":"string"}=>{"type":"integer"}`:         ".size|0: type string is gone",
		`{"type":"string"}=>{"type":"string"},true`:     "",
		`"description":"q"=>`:                           "",
	} {
		from, to, _ := strings.Cut(change, "=>")
		reasons, err := config.Incompatible([]byte(old), []byte(strings.Replace(old, from, to, 1)))
		if got := strings.Join(reasons, "; "); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", change, got, err, want)
		}
	}
}
