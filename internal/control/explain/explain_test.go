package explain_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/control/compile"
	"github.com/weirproxy/weir/internal/control/explain"
	"github.com/weirproxy/weir/internal/proxy/route"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

var update = flag.Bool("update", false, "write what came out as what is expected")

// TestCases runs testdata/*.txtar: documents, and "explain" with a question per
// paragraph ("$ METHOD URL [name: value]... [client=IP] [listener=NAME] [json]")
// and the answer behind it. Routes are found by the route stage itself.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := compiled(t, archive)
			for i, f := range archive.Files {
				if f.Name != "explain" {
					continue
				}
				got := answers(t, s, string(f.Data))
				if *update {
					archive.Files[i].Data = []byte(got)
					if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// compiled is the snapshot of before.yaml, if there is one, and doc.yaml over it.
func compiled(t *testing.T, archive *txtar.Archive) (s *snapshot.Snapshot) {
	t.Helper()
	for _, name := range []string{"before.yaml", "doc.yaml"} {
		for _, f := range archive.Files {
			if f.Name != name {
				continue
			}
			doc, problems := config.Parse(f.Name, f.Data)
			in := compile.Inputs{Documents: []*config.Document{doc}, Problems: problems, Files: certificate(t), Filters: filters(), Previous: s, Now: time.Unix(1, 0)}
			if s, problems = compile.Compile(in); s == nil {
				t.Fatal(problems)
			}
		}
	}
	return s
}

// certificate makes site.crt and site.key, for site.example.com.
func certificate(t *testing.T) func(path string) ([]byte, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"site.example.com"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"site.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}),
		"site.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	return func(path string) ([]byte, error) {
		if content, ok := files[path]; ok {
			return content, nil
		}
		return nil, fmt.Errorf("there is no file %s", path)
	}
}

type stamp struct {
	Set   map[string]string `yaml:"set"`
	Twice bool              `yaml:"twice"`
}

func filters() filter.Registry {
	return filter.NewRegistry(filter.Define(filter.Spec[stamp]{
		Name: "stamp", Stage: filter.Transform,
		Default: func() stamp { return stamp{} },
		Check:   func(*stamp, *config.Report) {},
		Build:   func(_ stamp, _ filter.Env, next stream.Service) (stream.Service, error) { return next, nil },
	}))
}

// answers asks every question of the text and puts the answers behind them.
func answers(t *testing.T, s *snapshot.Snapshot, text string) string {
	t.Helper()
	var out strings.Builder
	for _, line := range strings.Split(text, "\n") {
		question, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		q, asJSON := parseQuestion(question)
		fmt.Fprintf(&out, "$ %s\n", question)
		e, err := explain.Explain(s, q, stagesOf(t, s))
		switch {
		case err != nil:
			fmt.Fprintf(&out, "error: %v\n", err)
		case asJSON:
			encoded, err := json.MarshalIndent(e, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s\n", encoded)
		default:
			out.WriteString(e.String())
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func parseQuestion(text string) (q explain.Query, asJSON bool) {
	words := strings.Fields(text)
	q.Method, q.URL = words[0], words[1]
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "json":
			asJSON = true
		case "client":
			q.Client = netip.MustParseAddr(value)
		case "listener":
			q.Listener = value
		default:
			header, content, _ := strings.Cut(word, ":")
			q.Header = append(q.Header, [2]string{header, content})
		}
	}
	return q, asJSON
}

// stagesOf connects the route stage, as the assembler does.
func stagesOf(t *testing.T, s *snapshot.Snapshot) explain.Stages {
	tables := map[string]*route.Table{}
	for _, l := range s.Listeners {
		var entries []route.Entry
		for _, r := range s.Routes {
			for _, name := range r.Listeners {
				if name == l.Spec.Name {
					entries = append(entries, route.Entry{Route: r})
				}
			}
		}
		tables[l.Spec.Name] = route.Build(entries)
	}
	return explain.Stages{
		Find: func(listener string, req *stream.Request) (list []explain.Candidate) {
			for _, c := range tables[listener].Explain(req) {
				candidate := explain.Candidate{Host: c.Host, Won: c.Won, Why: c.Why, Omitted: c.Omitted}
				if c.Entry != nil {
					candidate.Route = c.Entry.Route
				}
				list = append(list, candidate)
			}
			return list
		},
		Act: act,
	}
}

// act runs the action of a route with probes in the place of clusters.
func act(r *snapshot.Route, req *stream.Request) (explain.Outcome, error) {
	var out explain.Outcome
	var service stream.Service
	var err error
	switch {
	case r.Spec.Connect != nil && r.Spec.Connect.Target:
		service = stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			out.Cluster, out.Target = req.Target.Authority(), req.Target
			return &stream.Response{Status: 200, Body: stream.NoBody}, nil
		})
	case r.Spec.Redirect != nil:
		service, err = route.NewRedirect(*r.Spec.Redirect, r.Match)
	case r.Spec.Respond != nil:
		service = route.NewRespond(*r.Spec.Respond)
	default:
		var sides []route.Side
		for _, target := range r.Spec.To {
			probe := stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
				out.Cluster, out.Target = target.Cluster, req.Target
				return &stream.Response{Status: 200, Body: stream.NoBody}, nil
			})
			sides = append(sides, route.Side{Name: target.Cluster, Weight: target.Weight, Service: probe})
		}
		if service, err = route.NewSplit(sides, r.Spec.Split.Key, r.Spec.Name); err == nil && r.Spec.Rewrite != nil {
			service, err = route.NewRewrite(service, *r.Spec.Rewrite, r.Match)
		}
	}
	if err != nil {
		return out, err
	}
	copied := *req // the action may change it
	resp, err := service.Serve(context.Background(), &copied)
	if err != nil {
		return out, err
	}
	if out.Cluster == "" {
		out.Response = resp
	}
	return out, nil
}
