package headers

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

// Settings of the filter headers.
type Settings struct {
	// Request changes what the upstream sees.
	Request Changes `yaml:"request" json:"request"`
	// Response changes what the client sees.
	Response Changes `yaml:"response" json:"response"`
}

// Changes of a header, made in this order: remove, set, add.
type Changes struct {
	// Add puts fields behind those of the same name.
	Add []Field `yaml:"add" json:"add"`
	// Set replaces the fields of the same name by one.
	Set []Field `yaml:"set" json:"set"`
	// Remove are the names of fields to remove; a "*" at the end stands for
	// any rest of the name.
	Remove []string `yaml:"remove" json:"remove"`
}

// Field is a header field. The value is sent as it is written here: nothing in
// it is expanded.
type Field struct {
	// Name of the field.
	Name string `yaml:"name" json:"name" required:"true"`
	// Value of the field; it may be empty.
	Value string `yaml:"value" json:"value"`
}

// What one filter may hold.
const (
	maxChanges = 100
	maxValue   = 8 << 10
)

// check reports what is wrong with the settings.
func check(s *Settings, report *config.Report) {
	s.Request.check(report.Below("request"), true)
	s.Response.check(report.Below("response"), false)
	if s.Request.count()+s.Response.count() == 0 {
		report.Warnf("", "write request or response with add, set or remove, or remove the filter", "the filter changes nothing")
	}
}

func (c *Changes) count() int { return len(c.Add) + len(c.Set) + len(c.Remove) }

func (c *Changes) check(report *config.Report, request bool) {
	if n := c.count(); n > maxChanges {
		report.Errorf("", "split it over several filters", "%d changes, more than %d", n, maxChanges)
		return
	}
	for i := range c.Add {
		c.Add[i].check(report.Below(fmt.Sprintf("add[%d]", i)), request)
	}
	for i := range c.Set {
		c.Set[i].check(report.Below(fmt.Sprintf("set[%d]", i)), request)
		for j := range i {
			if stream.EqualFold(c.Set[i].Name, c.Set[j].Name) {
				report.Errorf(fmt.Sprintf("set[%d].name", i), "keep one of them, or use add", "%q is set twice", c.Set[i].Name)
				break
			}
		}
	}
	for i, name := range c.Remove {
		at := fmt.Sprintf("remove[%d]", i)
		stem, _ := strings.CutSuffix(name, "*")
		if name == "*" {
			report.Errorf(at, "name the fields, or a beginning that they share", `"*" would remove every field`)
			continue
		}
		switch {
		case strings.Contains(stem, "*"): // a token may hold it, but nobody means that
			report.Errorf(at, `put one "*" at the end`, `%q has a "*" that is not at the end`, name)
		case stem == name:
			checkName(report, at, name, request)
		case !stream.IsToken(stem):
			report.Errorf(at, `use letters, digits and "-"`, "%q cannot be the beginning of a field name", stem)
		}
	}
}

func (f *Field) check(report *config.Report, request bool) {
	checkName(report, "name", f.Name, request)
	if len(f.Value) > maxValue {
		report.Errorf("value", "shorten it", "the value has %d bytes, more than %d", len(f.Value), maxValue)
	} else if at := stream.BadValueByte(f.Value); at >= 0 {
		report.Errorf("value", "use printable ASCII, and spaces inside only",
			"byte %d of the value, %q, cannot be sent in a header", at+1, f.Value[at])
	}
}

// checkName refuses names that are not the document's to change: those that
// frame messages or belong to one connection (the codec's), and those by which
// Weir tells the upstream who the client is.
func checkName(report *config.Report, path, name string, request bool) {
	id := stream.Lookup(name)
	switch {
	case !stream.IsToken(name):
		report.Errorf(path, `use letters, digits and "-"`, "%q cannot be the name of a field", name)
	case framing[id]:
		report.Errorf(path, "remove it: Weir writes this field as each connection needs it",
			"%q belongs to a connection, not to the message", name)
	case id == stream.Host:
		report.Errorf(path, "use rewrite.host of the route", "Host cannot be changed as a header")
	case request && isWeirs(name, id):
		report.Errorf(path, "remove it; what clients send of it is removed, see forwarded of the listener",
			"%q is written by Weir, so that upstreams can rely on it", name)
	}
}

// framing are the fields that the codec takes out and writes itself.
var framing = map[stream.ID]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.HTTP2Settings: true,
	stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true, stream.Trailer: true,
	stream.TransferEncoding: true, stream.Upgrade: true,
}

// isWeirs leaves what a trusted peer may vouch for, such as
// X-Forwarded-Prefix, to the document.
func isWeirs(name string, id stream.ID) bool {
	owner := stream.Owner(&stream.Field{Name: name, ID: id})
	return owner == stream.OwnedWritten || owner == stream.OwnedReserved
}
