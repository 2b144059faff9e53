package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
)

// TestManyRendezvous: the balancer that asks every endpoint is named when they are
// many, and only then.
func TestManyRendezvous(t *testing.T) {
	for n, warned := range map[int]bool{manyAsked: false, manyAsked + 1: true} {
		text := "listeners: [{name: a, address: \":80\"}]\nroutes: [{name: all, to: [{cluster: c}]}]\nclusters:\n  - name: c\n    balance: rendezvous\n    endpoints:\n"
		for i := range n {
			text += fmt.Sprintf("      - \"10.0.%d.%d:80\"\n", i/200, i%200+1)
		}
		document, problems := config.Parse("doc.yaml", []byte(text))
		compiled, found := Compile(Inputs{Documents: []*config.Document{document}, Problems: problems, Filters: testFilters(), Now: now})
		if compiled == nil {
			t.Fatal(problemText(found))
		}
		if got := problemText(found); strings.Contains(got, "doc.yaml:5:14: warning: rendezvous asks every endpoint for each request, and 201 stand here") != warned {
			t.Errorf("%d endpoints: %q", n, got)
		}
	}
}
