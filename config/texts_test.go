package config_test

import (
	"slices"
	"testing"

	"github.com/weirproxy/weir/config"
)

// TestTexts: one text may stand without its list.
func TestTexts(t *testing.T) {
	type settings struct {
		Key config.Texts `yaml:"key" json:"key"`
	}
	for text, want := range map[string][]string{
		"key: client": {"client"}, "key: [client, b]": {"client", "b"}, "key: []": {}, "key: 24": {"24"}, "key: {a: b}": nil, "key:": nil,
	} {
		var node config.Node
		if err := node.UnmarshalJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var got settings
		var problems config.Problems
		ok := node.Decode(&got, config.NewReport("route r", node.At, &problems))
		if ok != (want != nil) || ok && !slices.Equal(got.Key, want) {
			t.Errorf("%s: %q, %v %v", text, got.Key, ok, problems)
		}
	}
}
