package mirror

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
)

func TestCheck(t *testing.T) {
	for settings, want := range map[string]string{
		"{to: s}": "",
		"{to: s, key: 'header:x', host: 'a:1', redact: {json: [/a], form: [a], query: [a]}, compare: {json: {ignore: [/a]}}}": "",
		"{to: s, headers: {allow: ['*']}}":                         "",
		"{}":                                                       "settings has no to",
		"{to: s, share: 2}":                                        "share",
		"{to: s, share: 0}":                                        "warning: the share is 0",
		"{to: s, key: nobody}":                                     `key "nobody" is not known`,
		"{to: s, methods: []}":                                     "no method is copied",
		"{to: s, methods: ['a b']}":                                "cannot be a method",
		"{to: s, methods: [CONNECT]}":                              "CONNECT cannot be copied",
		"{to: s, methods: [get]}":                                  "warning: methods are told apart by case",
		"{to: s, host: 'a/b'}":                                     `"a/b" is no host`,
		"{to: s, timeout: 0s}":                                     "without a timeout",
		"{to: s, headers: {allow: [Authorization]}}":               `warning: Authorization goes to cluster "s"`,
		"{to: s, headers: {allow: [x_api_key]}}":                   `warning: x_api_key goes to cluster "s"`,
		"{to: s, headers: {allow: ['a*b']}}":                       `a "*" that is not at the end`,
		"{to: s, headers: {remove: ['a b']}}":                      "cannot be the name of a field",
		"{to: s, headers: {set: [{name: 'a b'}]}}":                 "cannot be the name of a field",
		"{to: s, headers: {set: [{name: Host, value: a}]}}":        "Host cannot be changed as a header",
		"{to: s, headers: {set: [{name: Upgrade, value: a}]}}":     "belongs to a connection",
		"{to: s, headers: {set: [{name: weir-mirror, value: a}]}}": "marks copies",
		"{to: s, headers: {set: [{name: a, value: \"a\\nb\"}]}}":   "cannot be sent in a header",
		"{to: s, redact: {json: [$.a]}}":                           "is no JSON pointer",
		"{to: s, redact: {form: ['']}}":                            "the name is empty",
		"{to: s, redact: {query: [' ']}}":                          "the name is empty",
		"{to: s, budget: {concurrent: 0}}":                         "concurrent",
		"{to: s, budget: {bytes: 1KiB}}":                           "a body of 64KiB does not fit",
		"{to: s, compare: {status: false}}":                        "nothing is compared",
		"{to: s, compare: {headers: ['a b']}}":                     "cannot be the name of a field",
		"{to: s, compare: {json: {ignore: [a]}}}":                  "does not begin with a slash",
		"{to: s, compare: {max_body: 1GiB}}":                       "max_body",
	} {
		var got []string
		for _, p := range filtertest.Check(t, Definition(), settings) {
			p.Pos.Line = 0
			got = append(got, p.String())
		}
		if text := strings.Join(got, "\n"); want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q", settings, text, want)
		}
	}
}

// TestReferences: weir check knows the cluster.
func TestReferences(t *testing.T) {
	settings, _ := filtertest.Decode(t, Definition(), "to: s")
	refs := Definition().References(settings)
	if len(refs) != 1 || refs[0].At != "to" || refs[0].Cluster != "s" {
		t.Errorf("%+v", refs)
	}
}
