package compile

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/geo/geotest"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

var update = flag.Bool("update", false, "write what came out as what is expected")

// now is the clock of all cases.
var now = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// TestCases runs testdata/*.txtar. The files of a case are its documents;
// those below before/ are the state that runs already. "problems" and
// "snapshot" are what is expected. Certificates are made by name (testpem).
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d cases found: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runCase(t, name) })
	}
}

func runCase(t *testing.T, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var previous *snapshot.Snapshot
	if before := inputs(archive, "before/", nil); len(before.Documents) > 0 {
		var problems config.Problems
		if previous, problems = Compile(before); previous == nil {
			t.Fatalf("the state before does not compile:\n%s", problemText(problems))
		}
	}
	compiled, problems := Compile(inputs(archive, "", previous))
	got := map[string]string{"problems": problemText(problems), "snapshot": summary(compiled)}
	if *update {
		writeCase(t, name, archive, got)
		return
	}
	for part, text := range got {
		if diff := cmp.Diff(section(archive, part), text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", part, diff)
		}
	}
}

// inputs are the documents of a case below a prefix.
func inputs(archive *txtar.Archive, prefix string, previous *snapshot.Snapshot) Inputs {
	in := Inputs{Files: testFile, Env: testEnv, Filters: testFilters(), Previous: previous, Now: now}
	for _, f := range archive.Files {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok || name == "problems" || name == "snapshot" || strings.Contains(name, "/") {
			continue
		}
		document, problems := config.Parse(name, f.Data)
		in.Problems = append(in.Problems, problems...)
		if document == nil {
			in.Unknown = append(in.Unknown, name)
			continue
		}
		in.Documents = append(in.Documents, document)
	}
	return in
}

func section(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func writeCase(t *testing.T, name string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	kept := archive.Files[:0]
	for _, f := range archive.Files {
		if f.Name != "problems" && f.Name != "snapshot" {
			kept = append(kept, f)
		}
	}
	for _, part := range []string{"problems", "snapshot"} {
		kept = append(kept, txtar.File{Name: part, Data: []byte(got[part])})
	}
	archive.Files = kept
	if err := writeFile(name, txtar.Format(archive)); err != nil {
		t.Fatal(err)
	}
}

func problemText(problems config.Problems) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// summary shows a snapshot in a few lines.
func summary(s *snapshot.Snapshot) string {
	if s == nil {
		return "none\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "number %d\n", s.Number)
	for _, l := range s.Listeners {
		fmt.Fprintf(&b, "listener %s: %s %s", l.Spec.Name, l.Network, l.Address)
		if len(l.Trust) > 0 {
			fmt.Fprintf(&b, " trust=%v", l.Trust)
		}
		if l.Spec.Protocol != "http" {
			fmt.Fprintf(&b, " %s", l.Spec.Protocol)
		}
		if len(l.ProxyFrom) > 0 {
			fmt.Fprintf(&b, " proxy-from=%v", l.ProxyFrom)
		}
		if l.TLS != nil {
			fmt.Fprintf(&b, " tls")
			for _, pair := range l.TLS.Certificates {
				fmt.Fprintf(&b, " %v", pair.Names)
			}
			fmt.Fprintf(&b, " client-ca=%t", !l.TLS.ClientCA.Empty())
		}
		b.WriteByte('\n')
	}
	for _, r := range s.Routes {
		fmt.Fprintf(&b, "route %s: %s on %v", r.Spec.Name, matchText(&r.Match), r.Listeners)
		if kind := trafficOf(&r.Spec); kind != requests {
			fmt.Fprintf(&b, " for %s", kind)
		}
		for _, f := range r.Filters {
			fmt.Fprintf(&b, " %s%+v", f.Name, f.Settings)
		}
		for _, target := range r.Spec.To {
			fmt.Fprintf(&b, " -> %s %d", target.Cluster, target.Weight)
		}
		b.WriteByte('\n')
	}
	for _, k := range s.Clusters {
		fmt.Fprintf(&b, "cluster %s:", k.Spec.Name)
		for _, e := range k.Endpoints {
			fmt.Fprintf(&b, " %s:%s:%d*%d", e.Network, e.Host, e.Port, e.Weight)
		}
		b.WriteByte('\n')
	}
	for _, h := range s.Held {
		fmt.Fprintf(&b, "held %s: %d problems\n", strings.TrimSpace(h.Kind+" "+h.Name), len(h.Problems))
	}
	return b.String()
}

func matchText(m *snapshot.Match) string {
	text := fmt.Sprintf("%v %s", m.Hosts, pathKey(&m.Path))
	if len(m.Methods) > 0 {
		text += fmt.Sprintf(" %v", m.Methods)
	}
	if m.GRPC {
		text += " grpc"
	}
	for _, part := range [][]string{valueKeys(m.Headers, asIs), valueKeys(m.Query, asIs), valueKeys(m.Cookies, asIs), prefixKeys(m.Clients), m.ALPN, portKeys(m.Ports)} {
		if len(part) > 0 {
			text += fmt.Sprintf(" %v", part)
		}
	}
	return text
}

func testEnv(name string) (string, bool) {
	if name == "SITE_KEY" {
		content, _ := testFile("site.key")
		return string(content), true
	}
	return "", false
}

func testFile(path string) ([]byte, error) {
	if content, ok := testPEM()[path]; ok {
		return content, nil
	}
	switch path {
	case "countries.mmdb":
		return geotest.Write("Test-Country", geotest.Net{Prefix: "192.0.2.0/24", Country: "DE", Continent: "EU"}), nil
	case "systems.mmdb":
		return geotest.Write("Test-ASN", geotest.Net{Prefix: "192.0.2.0/24", ASN: 64500}), nil
	case "half.mmdb":
		return geotest.Write("Test-ASN")[:20], nil
	}
	if path == "secret/denied.key" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("permission denied")}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

type guardSettings struct {
	Realm string   `yaml:"realm" required:"true"`
	Allow []string `yaml:"allow"`
}

type stampSettings struct {
	Set map[string]string `yaml:"set"`
}

type asideSettings struct {
	To string `yaml:"to" required:"true"`
}

// aside sends to a cluster of its own.
func aside() filter.Definition {
	return filter.Define(filter.Spec[asideSettings]{
		Name: "aside", Stage: filter.Transform, Status: filter.Stable, Trust: filter.HostileBoth,
		Default:  func() asideSettings { return asideSettings{} },
		Check:    func(*asideSettings, *config.Report) {},
		Clusters: func(s *asideSettings) []filter.Reference { return []filter.Reference{{At: "to", Cluster: s.To}} },
		Build:    func(_ asideSettings, _ filter.Env, next stream.Service) (stream.Service, error) { return next, nil },
	})
}

type paceSettings struct {
	Key string `yaml:"key" json:"key"`
}

// pace names a value of requests, and badge finds out whose they are.
func pace(name string, claims bool) filter.Definition {
	return filter.Define(filter.Spec[paceSettings]{
		Name: name, Stage: filter.Protect, Status: filter.Stable, Trust: filter.HostileBoth, Claims: claims,
		Default: func() paceSettings { return paceSettings{} },
		Check:   func(*paceSettings, *config.Report) {},
		Keys:    func(s *paceSettings) []filter.Key { return filter.Keys("key", s.Key) },
		Build:   func(_ paceSettings, _ filter.Env, next stream.Service) (stream.Service, error) { return next, nil },
	})
}

// calls makes gRPC calls of requests.
func calls() filter.Definition {
	d := define("calls", filter.Transform, func(*struct{}, *config.Report) {})
	d.Calls = true
	return d
}

// testFilters are one filter of each stage, aside, pace, badge and calls.
func testFilters() filter.Registry {
	return filter.NewRegistry(
		define("guard", filter.Protect, func(g *guardSettings, r *config.Report) {
			for i, name := range g.Allow {
				if name == "" {
					r.Errorf(fmt.Sprintf("allow[%d]", i), "write a name", "the name is empty")
				}
			}
		}),
		define("stamp", filter.Transform, func(*stampSettings, *config.Report) {}),
		define("canned", filter.Answer, func(*struct{}, *config.Report) {}),
		aside(), pace("pace", false), pace("badge", true), calls(),
	)
}

func define[C any](name string, stage filter.Stage, check func(*C, *config.Report)) filter.Definition {
	return filter.Define(filter.Spec[C]{
		Name: name, Stage: stage, Status: filter.Stable, Trust: filter.HostileBoth,
		Default: func() C { var zero C; return zero },
		Check:   check,
		Build:   func(_ C, _ filter.Env, next stream.Service) (stream.Service, error) { return next, nil },
	})
}
