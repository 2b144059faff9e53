package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirproxy/weir/config"
)

// parse fails the test on any problem.
func parse(t *testing.T, text string) *config.Document {
	t.Helper()
	d, problems := config.Parse("test.yaml", []byte(text))
	for _, p := range problems {
		t.Error(p)
	}
	if d == nil || t.Failed() {
		t.FailNow()
	}
	return d
}

// withoutPlaces compares what documents say, not where.
func withoutPlaces() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreTypes(config.Origin{}),
		cmpopts.IgnoreUnexported(config.Document{}),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b config.Node) bool {
			x, errX := a.CanonicalJSON()
			y, errY := b.CanonicalJSON()
			return errX == nil && errY == nil && string(x) == string(y)
		}),
	}
}

func TestWrittenZeroIsNotADefault(t *testing.T) {
	d := parse(t, `
clusters:
  - name: c
    endpoints: ["10.0.0.1:80", {address: "10.0.0.2:80", weight: 0}]
    ejection: {consecutive: 0}
    pool: {learn: false}
routes:
  - name: r
    timeout: 0
    retry: {on: []}
    to: [{cluster: c, weight: 0}, {cluster: c}]
access_log: {sample: 0}
drain: {grace: 0s}
`)
	d.ApplyDefaults()
	c, r := d.Clusters[0], d.Routes[0]
	got := fmt.Sprint(c.Ejection.Consecutive, c.Pool.Learn, c.Endpoints[1].Weight, r.Timeout, r.Retry.On, r.To[0].Weight, r.To[1].Weight, d.AccessLog.Sample, d.Drain.Grace)
	want := "0 false 0 0s [] 0 1 0 0s"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if c.Pool.MaxAge != config.Duration(time.Hour) || r.Retry.Attempts != 2 || d.AccessLog.Format != "json" {
		t.Error("what was not written has no default")
	}
}

func TestApplyDefaultsToWhatAToolMade(t *testing.T) {
	d := &config.Document{
		Drain:     config.Drain{Grace: config.Duration(time.Second)},
		Listeners: []config.Listener{{Name: "l", Address: ":80", TLS: &config.ListenerTLS{}}},
		Clusters:  []config.Cluster{{Name: "c", Endpoints: []config.Endpoint{{Address: "10.0.0.1:80"}}}},
	}
	d.ApplyDefaults()
	want := parse(t, `
drain: {grace: 1s}
clusters: [{name: c, endpoints: ["10.0.0.1:80"]}]
`)
	want.Listeners = []config.Listener{config.Default[config.Listener]()}
	tls := config.Default[config.ListenerTLS]()
	want.Listeners[0].Name, want.Listeners[0].Address, want.Listeners[0].TLS = "l", ":80", &tls
	if diff := cmp.Diff(want, d, withoutPlaces()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlaces(t *testing.T) {
	d := parse(t, `drain:
  grace: 5s
routes:
  - name: r
    match:
      hosts: [a, b]
    filters:
      - one
      - headers:
          set:
            - {name: X}
    to: [{cluster: c}]
`)
	r := d.Routes[0]
	for path, want := range map[string]string{
		"":                               "test.yaml:4:5",
		"match":                          "test.yaml:5:5",
		"match.hosts":                    "test.yaml:6:7",
		"match.hosts[1]":                 "test.yaml:6:18",
		"match.path.regex":               "test.yaml:5:5",
		"filters[0]":                     "test.yaml:8:9",
		"filters[1].headers.set[0].name": "test.yaml:11:22",
		"to[0].weight":                   "test.yaml:12:10",
		"timeout":                        "test.yaml:4:5",
	} {
		if got := r.At(path).String(); got != want {
			t.Errorf("At(%q) = %s, want %s", path, got, want)
		}
	}
	if got := r.Filters[1].Settings.At("set[0].name").String(); got != "test.yaml:11:22" {
		t.Errorf("place in the settings: %s", got)
	}
	if got := d.At("drain.grace").String(); got != "test.yaml:2:10" {
		t.Errorf("place in a part: %s", got)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	d := parse(t, `
x-base: &base {timeout: 5s, to: [{cluster: c}]}
x-slow: &slow {timeout: 60s, priority: 3}
routes:
  - {<<: *base, name: a}
  - {<<: [*slow, *base], name: b, priority: 7}
`)
	a, b := d.Routes[0], d.Routes[1]
	if a.Timeout.String() != "5s" || b.Timeout.String() != "1m" || b.Priority != 7 || b.To[0].Cluster != "c" {
		t.Errorf("a %+v\nb %+v", a, b)
	}
}

func TestTextIsTakenAsItStands(t *testing.T) {
	d := parse(t, `
routes:
  - name: 007
    match: {headers: [{name: x, exact: 1.20}, {name: y, exact: no}, {name: z, exact: "null"}]}
    respond: {body: true}
clusters: [{name: c, health: {status: [200, 3xx]}, tls: {min_version: 1.3}}]
`)
	r := d.Routes[0]
	got := fmt.Sprintln(r.Name, *r.Match.Headers[0].Exact, *r.Match.Headers[1].Exact, *r.Match.Headers[2].Exact, r.Respond.Body,
		d.Clusters[0].Health.Status, d.Clusters[0].TLS.MinVersion)
	if want := "007 1.20 no null true [200 3xx] 1.3\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestJSON(t *testing.T) {
	text := "{\r\n\t\"routes\":[{\"name\":\"r\",\"respond\":{\"body\":\"\\u00e9 \\ud83d\\ude00 \\/ \\\\/ \\ud83d \\u0007\"}}]}"
	d, problems := config.Parse("test.json", []byte(text))
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if got, want := d.Routes[0].Respond.Body, "é 😀 / \\/ \ufffd \a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStreamOfDocuments(t *testing.T) {
	d := parse(t, "clusters: [{name: a}]\n---\n# nothing\n---\nclusters: [{name: b}]\ndrain: {grace: 1s}\n")
	if len(d.Clusters) != 2 || d.Drain.Grace.String() != "1s" {
		t.Errorf("%+v", d)
	}
	if empty := parse(t, "\n# nothing\n"); empty.Admin.Address == "" {
		t.Error("an empty file has no defaults")
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("clusters:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {name: c%d, balanc: x}\n", i)
	}
	d, problems := config.Parse("test.yaml", []byte(text.String()))
	if len(problems) != 101 || !strings.Contains(problems[100].What, "900 more") || len(d.Broken) != 1000 {
		t.Errorf("%d problems, the last %v; %d broken", len(problems), problems[len(problems)-1], len(d.Broken))
	}
}

func TestFileTooLarge(t *testing.T) {
	d, problems := config.Parse("test.yaml", make([]byte, 16<<20+1))
	if d != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "16MiB") {
		t.Errorf("%v %v", d, problems)
	}
}

// everything is a document that writes as many things as possible.
func everything(t *testing.T) *config.Document {
	t.Helper()
	content, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(content))
}

func TestEffectiveReadsBack(t *testing.T) {
	d := everything(t)
	text, err := config.Effective(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, parse(t, string(text)), withoutPlaces()); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestCanonicalJSONReadsBack(t *testing.T) {
	d := everything(t)
	text, err := config.CanonicalJSON(*d)
	if err != nil {
		t.Fatal(err)
	}
	again, problems := config.Parse("sent.json", text)
	if again == nil || len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, text)
	}
	if diff := cmp.Diff(d, again, withoutPlaces()); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
	if second, err := config.CanonicalJSON(*again); err != nil || string(second) != string(text) {
		t.Errorf("not the same bytes again: %v\n%s\n%s", err, text, second)
	}
}

// TestObjectsTravelAsJSON: encoding/json and the decoder of this package agree.
func TestObjectsTravelAsJSON(t *testing.T) {
	d := everything(t)
	sent, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var received config.Document
	if err := json.Unmarshal(sent, &received); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, &received, withoutPlaces()); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
}
