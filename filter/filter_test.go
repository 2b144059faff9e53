package filter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/stream"
)

type size struct {
	Max int `yaml:"max" json:"max"`
}

func define(name string) filter.Definition {
	return filter.Define(filter.Spec[size]{
		Name: name, Stage: filter.Protect, Status: filter.Stable, Trust: filter.HostileBoth, Readme: "# " + name,
		Default: func() size { return size{Max: 7} },
		Check: func(s *size, report *config.Report) {
			if s.Max > 10 {
				report.Errorf("max", "write a smaller one", "%d is too large", s.Max)
			}
		},
		Build: func(s size, _ filter.Env, next stream.Service) (stream.Service, error) { return next, nil },
	})
}

func decode(t *testing.T, d filter.Definition, text string) (any, config.Problems) {
	t.Helper()
	var node config.Node
	if text != "" {
		if err := node.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var problems config.Problems
	return d.Decode(node, nil, config.NewReport("route r", node.At, &problems)), problems
}

func TestDecode(t *testing.T) {
	d := define("size")
	for _, c := range []struct {
		text string
		want any
		what string // part of the one problem
	}{
		{"", size{7}, ""},
		{`{"max": 3}`, size{3}, ""},
		{`{"max": 11}`, nil, "11 is too large"},
		{`{"max": "x"}`, nil, "x"},
		{`{"mux": 3}`, nil, "mux"},
	} {
		got, problems := decode(t, d, c.text)
		if got != c.want || len(problems) != min(len(c.what), 1) {
			t.Errorf("%s: %v, %v, want %v", c.text, got, problems, c.want)
		}
		for _, p := range problems {
			if !strings.Contains(p.What, c.what) || p.Object != "route r" {
				t.Errorf("%s: problem %+v, want %q", c.text, p, c.what)
			}
		}
	}
}

// A warning of the same report must not refuse the settings.
func TestDecodeAfterAnotherProblem(t *testing.T) {
	var problems config.Problems
	report := config.NewReport("route r", func(string) config.Pos { return config.Pos{} }, &problems)
	report.Errorf("other", "", "something else is wrong")
	if got := define("size").Decode(config.Node{}, nil, report); got != (size{7}) {
		t.Errorf("Decode returns %v for the problem of another", got)
	}
}

func TestBuildRefusesOtherSettings(t *testing.T) {
	if _, err := define("size").Build("no size", filter.Env{}, nil); err == nil || !strings.Contains(err.Error(), "size") {
		t.Errorf("Build of settings of another type: %v", err)
	}
}

func TestRegistry(t *testing.T) {
	r := filter.NewRegistry(define("b"), define("a"))
	if got := r.Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names %q", got)
	}
	if d, ok := r.Lookup("a"); !ok || d.Readme != "# a" {
		t.Errorf("Lookup(a) = %+v, %v", d, ok)
	}
	if _, ok := r.Lookup("c"); ok {
		t.Error("Lookup finds what is not there")
	}
	defer func() {
		if recover() == nil {
			t.Error("two filters of one name are let through")
		}
	}()
	filter.NewRegistry(define("a"), define("a"))
}
