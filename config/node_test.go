package config_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
)

// settings stands for those of a filter.
type settings struct {
	Key   string            `yaml:"key" json:"key" required:"true"`
	Rate  config.Rate       `yaml:"rate" json:"rate"`
	Items []item            `yaml:"items" json:"items"`
	Map   map[string]int    `yaml:"map" json:"map,omitempty"`
	Token *config.Secret    `yaml:"token" json:"token,omitempty"`
	Wait  config.Duration   `yaml:"wait" json:"wait"`
	Mode  string            `yaml:"mode" json:"mode" enum:"enforce,shadow"`
	More  map[string]string `yaml:"more" json:"more,omitempty"`
}

type item struct {
	Name  string `yaml:"name" json:"name"`
	Count int    `yaml:"count" json:"count"`
}

func (i *item) SetDefaults() { i.Count = 7 }

// filterOf is the settings of the one filter written as text.
func filterOf(t *testing.T, text string) (config.Node, *config.Document) {
	t.Helper()
	indented := strings.ReplaceAll(strings.Trim(text, "\n"), "\n", "\n        ")
	d := parse(t, "routes:\n  - name: r\n    filters:\n      - limit:\n        "+indented+"\n    to: [{cluster: c}]\n")
	return d.Routes[0].Filters[0].Settings, d
}

func TestNodeDecode(t *testing.T) {
	node, d := filterOf(t, `
  key: header:x
  rate: 100/s
  items: [{name: a}, {name: b, count: 0}]
  map: {x: 1}
  token: {env: TOKEN}
`)
	got := settings{Wait: 5, Mode: "enforce"} // the filter's defaults
	var problems config.Problems
	if !node.Decode(&got, config.NewReport("route r", d.Routes[0].At, &problems)) || len(problems) > 0 {
		t.Fatal(problems)
	}
	if got.Rate.String() != "100/s" || got.Items[0].Count != 7 || got.Items[1].Count != 0 || got.Map["x"] != 1 ||
		got.Wait != 5 || got.Mode != "enforce" || got.Token.String() != "env:TOKEN" {
		t.Errorf("%+v", got)
	}
}

func TestNodeDecodeProblems(t *testing.T) {
	node, d := filterOf(t, `
  kye: header:x
  rate: 100
  items: [{nam: a}]
  map: {x: one, x: 2}
  mode: shadwo
`)
	var problems config.Problems
	clean := true
	report := config.NewReport("route r", d.Routes[0].At, &problems).Watch(&clean)
	if node.Decode(new(settings), report) || clean {
		t.Error("bad settings pass")
	}
	var got strings.Builder
	printProblems(&got, problems)
	want := `[route r] test.yaml:5:11: settings has no field "kye"; did you mean "key"?
[route r] test.yaml:6:17: rate: "100" is not a rate; write a number, a slash and a unit of time: 100/s, 30/m, 1000/h
[route r] test.yaml:7:20: items[0] has no field "nam"; did you mean "name"?
[route r] test.yaml:8:25: "x" stands here a second time, first at line 8; remove one
[route r] test.yaml:8:20: map.x: "one" is not a whole number; write digits only, without quotes
[route r] test.yaml:9:17: mode: "shadwo" is not known; did you mean "shadow"?
[route r] test.yaml:5:11: settings has no key, which it needs; add it
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestCanonicalJSON(t *testing.T) {
	node, _ := filterOf(t, `
  b: [1, 1.20, "1", true, yes, ~]
  a: {z: "<é>\u2028", y: 15s}
`)
	got, err := node.CanonicalJSON()
	if want := `{"a":{"y":"15s","z":"<é>\u2028"},"b":[1,1.20,"1",true,"yes",null]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	var again config.Node
	if err := json.Unmarshal(got, &again); err != nil {
		t.Fatal(err)
	}
	if second, err := again.CanonicalJSON(); err != nil || string(second) != string(got) {
		t.Errorf("after a journey: %s, %v", second, err)
	}
	if twice, _ := filterOf(t, "  a: 1\n  a: 2"); err == nil {
		if _, err := twice.CanonicalJSON(); err == nil {
			t.Error("a repeated key has a canonical form")
		}
	}
}

func TestZeroNodeIsEmptySettings(t *testing.T) {
	var problems config.Problems
	got := settings{Key: "default"}
	ok := config.Node{}.Decode(&got, config.NewReport("x", func(string) config.Pos { return config.Pos{File: "f"} }, &problems))
	if ok || len(problems) != 1 || problems[0].Pos.File != "f" {
		t.Errorf("key is required: %v %v", ok, problems)
	}
	if text, err := (config.Node{}).CanonicalJSON(); err != nil || string(text) != "{}" {
		t.Errorf("%s %v", text, err)
	}
}

func TestNewNode(t *testing.T) {
	in := settings{Key: "k", Rate: config.Rate{Count: 3, Per: 60e9}, Items: []item{{"a", 0}}, Mode: "shadow"}
	got, err := config.NewNode(in).CanonicalJSON()
	want := `{"items":[{"count":0,"name":"a"}],"key":"k","mode":"shadow","rate":"3/m","wait":"0s"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
