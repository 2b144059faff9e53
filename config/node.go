package config

import "go.yaml.in/yaml/v3"

// Node is a part of a document that is not decoded yet, with its place. The
// settings of a filter are one.
type Node struct {
	yaml *yaml.Node // never seen outside of this package
	file string
}

// Decode reads the node into v, a pointer, strictly: fields that v already
// holds are the defaults. It reports every problem below report's path and
// says whether there was none.
func (n Node) Decode(v any, report *Report) bool { panic("config: decoder is being written") }
