package all_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/all"
)

func TestDefinitions(t *testing.T) {
	var names []string
	for _, d := range all.Definitions() {
		names = append(names, d.Name)
		switch {
		case d.Status == "" || d.Trust == "":
			t.Errorf("filter %s does not say how far it may be relied on", d.Name)
		case !strings.HasPrefix(d.Readme, "# "+d.Name+"\n"):
			t.Errorf("the README of filter %s has another title", d.Name)
		case !strings.Contains(d.Readme, "\n## Example\n") || !strings.Contains(d.Readme, "\n## Settings\n"):
			t.Errorf("the README of filter %s lacks its example or its settings", d.Name)
		case d.Settings == nil || d.Decode == nil || d.Build == nil:
			t.Errorf("filter %s is not made by filter.Define", d.Name)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("%q is not in order", names)
	}
	filter.NewRegistry(all.Definitions()...) // panics on two of one name
}
