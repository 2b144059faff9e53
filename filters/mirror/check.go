package mirror

import (
	"fmt"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/jsonpointer"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// What one filter may hold.
const (
	maxNames = 100
	maxValue = 8 << 10
)

// check reports what is wrong with the settings.
func check(s *Settings, report *config.Report) {
	if s.Share == 0 {
		report.Warnf("share", "set a share above 0, or remove the filter", "the share is 0: nothing is copied")
	}
	if s.Key != "" {
		if _, err := requestkey.Parse(s.Key); err != nil {
			report.Errorf("key", "write for example header:X-User or cookie:session", "%v", err)
		}
	}
	checkMethods(s, report)
	if s.Host != "" {
		if _, _, err := stream.ParseAuthority(s.Host); err != nil {
			report.Errorf("host", "write a name, or a name and a port", "%q is no host: %v", s.Host, err)
		}
	}
	if s.Timeout <= 0 {
		report.Errorf("timeout", "write for example 5s", "a copy without a timeout would hold its place for ever")
	}
	s.Headers.check(s.To, report.Below("headers"))
	s.Redact.check(report.Below("redact"))
	s.Budget.check(report.Below("budget"))
	if s.Compare != nil {
		s.Compare.check(report.Below("compare"))
	}
}

func checkMethods(s *Settings, report *config.Report) {
	if len(s.Methods) == 0 {
		report.Errorf("methods", "write for example [GET, HEAD]", "no method is copied")
	}
	for i, name := range s.Methods {
		at := fmt.Sprintf("methods[%d]", i)
		switch {
		case !stream.IsToken(name):
			report.Errorf(at, "use letters", "%q cannot be a method", name)
		case name == "CONNECT" || name == "TRACE":
			report.Errorf(at, "remove it", "%s cannot be copied", name)
		case name != strings.ToUpper(name):
			report.Warnf(at, "write "+strings.ToUpper(name), "methods are told apart by case, and %q is not one that clients send", name)
		}
	}
}

func (h *Headers) check(to string, report *config.Report) {
	if n := len(h.Allow) + len(h.Remove) + len(h.Set); n > maxNames {
		report.Errorf("", `write a "*" for names that begin alike`, "%d names, more than %d", n, maxNames)
		return
	}
	for i, name := range h.Allow {
		at := fmt.Sprintf("allow[%d]", i)
		checkPattern(report, at, name)
		if isCredential(name) {
			report.Warnf(at, "remove it unless that service may act for your users", "%s goes to cluster %q with every copy", name, to)
		}
	}
	for i, name := range h.Remove {
		checkPattern(report, fmt.Sprintf("remove[%d]", i), name)
	}
	for i := range h.Set {
		f := &h.Set[i]
		below := report.Below(fmt.Sprintf("set[%d]", i))
		checkName(below, "name", f.Name)
		if len(f.Value) > maxValue {
			below.Errorf("value", "shorten it", "the value has %d bytes, more than %d", len(f.Value), maxValue)
		} else if at := stream.BadValueByte(f.Value); at >= 0 {
			below.Errorf("value", "use printable ASCII, and spaces inside only", "byte %d of the value, %q, cannot be sent in a header", at+1, f.Value[at])
		}
	}
}

// checkPattern accepts a name, or the beginning of one and a "*".
func checkPattern(report *config.Report, at, name string) {
	stem, star := strings.CutSuffix(name, "*")
	switch {
	case star && stem == "":
	case strings.Contains(stem, "*"):
		report.Errorf(at, `put one "*" at the end`, `%q has a "*" that is not at the end`, name)
	case !stream.IsToken(stem):
		report.Errorf(at, `use letters, digits and "-"`, "%q cannot be the name of a field", name)
	}
}

// checkName refuses what is not the document's to write.
func checkName(report *config.Report, at, name string) {
	id := stream.Lookup(name)
	switch {
	case !stream.IsToken(name):
		report.Errorf(at, `use letters, digits and "-"`, "%q cannot be the name of a field", name)
	case framing[id]:
		report.Errorf(at, "remove it: Weir writes this field as each connection needs it", "%q belongs to a connection, not to the message", name)
	case id == stream.Host:
		report.Errorf(at, "use host of the filter", "Host cannot be changed as a header")
	case stream.EqualFold(name, mark):
		report.Errorf(at, "remove it: every copy has it", "%q marks copies, so that none is copied again", name)
	}
}

// framing are the fields that the codec takes out and writes itself.
var framing = map[stream.ID]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.HTTP2Settings: true,
	stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true, stream.Trailer: true,
	stream.TransferEncoding: true, stream.Upgrade: true,
}

func (r *Redact) check(report *config.Report) {
	checkPointers(report, "json", r.JSON)
	checkNames(report, "form", r.Form)
	checkNames(report, "query", r.Query)
}

func checkPointers(report *config.Report, at string, pointers []string) {
	if len(pointers) > maxNames {
		report.Errorf(at, `write a "*" for places that are alike`, "%d places, more than %d", len(pointers), maxNames)
		return
	}
	for i, p := range pointers {
		if _, err := jsonpointer.Parse([]string{p}, false); err != nil {
			report.Errorf(fmt.Sprintf("%s[%d]", at, i), "write for example /user/email, /items/*/id or /**/password", "%v", err)
		}
	}
}

func checkNames(report *config.Report, at string, names []string) {
	if len(names) > maxNames {
		report.Errorf(at, "name fewer", "%d names, more than %d", len(names), maxNames)
		return
	}
	for i, name := range names {
		if strings.TrimSpace(name) == "" {
			report.Errorf(fmt.Sprintf("%s[%d]", at, i), "write a name", "the name is empty")
		}
	}
}

func (b *Budget) check(report *config.Report) {
	if b.MaxBody > b.Bytes {
		report.Errorf("max_body", "raise bytes, or lower max_body", "a body of %s does not fit into the budget of %s", b.MaxBody, b.Bytes)
	}
}

func (c *Compare) check(report *config.Report) {
	if !c.Status && len(c.Headers) == 0 && c.JSON == nil {
		report.Errorf("", "set status or json, name headers, or remove compare", "nothing is compared")
	}
	if len(c.Headers) > maxNames {
		report.Errorf("headers", "name fewer", "%d names, more than %d", len(c.Headers), maxNames)
		return
	}
	for i, name := range c.Headers {
		if !stream.IsToken(name) {
			report.Errorf(fmt.Sprintf("headers[%d]", i), `use letters, digits and "-"`, "%q cannot be the name of a field", name)
		}
	}
	if c.JSON != nil {
		checkPointers(report.Below("json"), "ignore", c.JSON.Ignore)
	}
}
