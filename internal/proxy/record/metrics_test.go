package record

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/weirproxy/weir/internal/histogram"
	"github.com/weirproxy/weir/stream"
)

// scrape is what /metrics says in the text format.
func scrape(t testing.TB, r *Recorder, accept string) string {
	t.Helper()
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	r.Handler().ServeHTTP(answer, req)
	if answer.Code != 200 {
		t.Fatalf("/metrics answers %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// seriesValue is the value of one series, or -1.
func seriesValue(t testing.TB, page, series string) float64 {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return -1
}

func metricsOnly(maxSeries int) Config {
	cfg := toStdout(io.Discard)
	cfg.AccessLog.To = "off"
	cfg.Metrics.MaxSeries = maxSeries
	return cfg
}

func TestMetrics(t *testing.T) {
	r := newRecorder(t, toStdout(io.Discard))
	for range 3 {
		r.Done(exchange(r))
	}
	bad := exchange(nil) // no route was found
	bad.Exchange = stream.Exchange{Start: start, HeadRead: start, HeadSent: start, End: start.Add(time.Second), Status: 404, BytesOut: 5, Fault: &stream.Fault{Kind: stream.NoRoute}}
	r.Done(bad)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	page := scrape(t, r, "")
	for series, want := range map[string]float64{
		`weir_requests_total{code="2xx",route="payments"}`:                  3,
		`weir_requests_total{code="4xx",route="none"}`:                      1,
		`weir_request_duration_seconds_count{route="payments"}`:             3,
		`weir_request_duration_seconds_sum{route="payments"}`:               0.021,
		`weir_request_duration_seconds_bucket{route="payments",le="0.005"}`: 0,
		`weir_request_duration_seconds_bucket{route="payments",le="0.01"}`:  3,
		`weir_request_duration_seconds_bucket{route="payments",le="+Inf"}`:  3,
		`weir_request_duration_seconds_bucket{route="none",le="1"}`:         1,
		`weir_request_proxy_seconds_sum{route="payments"}`:                  0.0015,
		`weir_upstream_duration_seconds_sum{cluster="payments-v1"}`:         0.0114,
		`weir_request_body_bytes_total{route="payments"}`:                   30,
		`weir_response_body_bytes_total{route="payments"}`:                  300,
		`weir_response_body_bytes_total{route="none"}`:                      5,
		`weir_faults_total{kind="no_route",origin="local"}`:                 1,
		`weir_faults_total{kind="connect_refused",origin="upstream"}`:       0,
		`weir_upstream_requests_total{cluster="payments-v1",code="2xx"}`:    3,
		`weir_upstream_attempts_total{cluster="payments-v1"}`:               6,
		`weir_upstream_retries_total{cluster="payments-v1"}`:                3,
		`weir_upstream_retries_refused_total{reason="budget"}`:              3,
		`weir_access_log_lines_total{result="written"}`:                     4,
		`weir_access_log_lines_total{result="dropped"}`:                     0,
		`weir_access_log_errors_total`:                                      0,
		`weir_metrics_folded_ratio{label="route"}`:                          0,
		`weir_upstream_duration_seconds_count{cluster="none"}`:              -1,
		`weir_requests_total{code="5xx",route="payments"}`:                  -1,
	} {
		if got := seriesValue(t, page, series); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	for _, family := range []string{"go_goroutines", "process_open_fds"} {
		if seriesValue(t, page, family) <= 0 {
			t.Errorf("no %s", family)
		}
	}
	if open := scrape(t, r, "application/openmetrics-text;version=1.0.0"); !strings.HasSuffix(open, "# EOF\n") {
		t.Error("OpenMetrics is not negotiated")
	}
}

// TestBudget: busy names keep their series, the rest counts as other, and the
// totals are exact.
func TestBudget(t *testing.T) {
	const maxSeries = 60 // 8 names of our own
	r := newRecorder(t, metricsOnly(maxSeries))
	for i := range 1000 { // idle names take no place
		r.RouteLabel(fmt.Sprint("idle-", i))
	}
	want := uint64(0)
	for i := range 50 {
		req := exchange(r)
		req.Exchange.Route = r.RouteLabel(fmt.Sprint("route-", i))
		for id := range uint64(8) {
			req.Conn = &stream.Conn{ID: id}
			for status := 100; status < 600; status += 100 {
				req.Exchange.Status = status
				r.Done(req)
				want++
			}
		}
	}
	page := scrape(t, r, "")
	series, sum := 0, 0.0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "weir_requests_total{") {
			series++
			value, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			sum += value
		}
	}
	if series > maxSeries || series < maxSeries/2 {
		t.Errorf("%d series with a budget of %d", series, maxSeries)
	}
	if uint64(sum) != want {
		t.Errorf("the series add up to %v, want %d", sum, want)
	}
	for _, name := range []string{"route-0", "route-7", "other"} {
		if seriesValue(t, page, `weir_requests_total{code="2xx",route="`+name+`"}`) < 8 {
			t.Errorf("%s has no series", name)
		}
	}
	if got := seriesValue(t, page, `weir_metrics_folded_ratio{label="route"}`); math.Abs(got-0.84) > 1e-9 {
		t.Errorf("folded share is %v, want 0.84", got)
	}
}

// TestRetain: a removed route's counts move to other, its place is free, and
// its handle never counts for another name.
func TestRetain(t *testing.T) {
	r := newRecorder(t, metricsOnly(18)) // one name of our own
	done := func(label stream.Label) {
		req := exchange(r)
		req.Exchange.Route = label
		for id := range uint64(4) {
			req.Conn = &stream.Conn{ID: id}
			r.Done(req)
		}
	}
	old := r.RouteLabel("old")
	done(old)
	r.Retain([]string{"new"}, nil)
	done(old) // an exchange of the old generation
	fresh := r.RouteLabel("new")
	done(fresh)
	if fresh.Handle == old.Handle || r.RouteLabel("new") != fresh {
		t.Errorf("labels %v and %v", old, fresh)
	}
	page := scrape(t, r, "")
	for name, want := range map[string]float64{"old": -1, "other": 8, "new": 4} {
		if got := seriesValue(t, page, `weir_requests_total{code="2xx",route="`+name+`"}`); got != want {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	if got := seriesValue(t, page, `weir_upstream_attempts_total{cluster="other"}`); got != 8 {
		t.Errorf("cluster other has %v attempts, want the 8 before Retain", got)
	}
}

func TestLabels(t *testing.T) {
	r := newRecorder(t, metricsOnly(1000))
	if l := r.RouteLabel(""); l != (stream.Label{}) {
		t.Errorf("the empty name has label %v", l)
	}
	for name, handle := range map[string]uint32{"none": none, "other": other} {
		if l := r.RouteLabel(name); l.Name != name || l.Handle != handle {
			t.Errorf("%s has label %v", name, l)
		}
	}
	a, b := r.ClusterLabel("a"), r.ClusterLabel("b")
	if a == b || a != r.ClusterLabel("a") {
		t.Errorf("labels %v, %v", a, b)
	}
	req := exchange(r)
	req.Exchange.Route = stream.Label{Name: "forged", Handle: 1 << 30}
	r.Done(req) // a defect of a stage ends as other, not as a panic or a huge table
	req.Exchange.Route = r.RouteLabel("bad\xff\"name\n")
	r.Done(req)
	page := scrape(t, r, "")
	if seriesValue(t, page, `weir_requests_total{code="2xx",route="other"}`) != 1 {
		t.Error("a forged handle does not count as other")
	}
	if seriesValue(t, page, `weir_requests_total{code="2xx",route="bad`+"\ufffd"+`\"name\n"}`) != 1 {
		t.Error("a name that is not UTF-8 has no series")
	}
}

func TestSources(t *testing.T) {
	r := newRecorder(t, metricsOnly(4))
	clusters := []string{"a", "b", "c"}
	r.Register(func(emit func(Sample)) {
		for i, name := range clusters {
			emit(Sample{Name: "weir_pool_idle", Help: "Idle.", Labels: [][2]string{{"cluster", name}}, Value: float64(i + 1)})
		}
		emit(Sample{Name: "bad name", Value: 1})
		emit(Sample{Name: "weir_twice", Help: "Twice.", Type: Counter, Value: 1})
		emit(Sample{Name: "weir_twice", Help: "Twice.", Type: Counter, Value: 2})
	})
	check := func(want map[string]float64) {
		t.Helper()
		page := scrape(t, r, "")
		for name, value := range want {
			if got := seriesValue(t, page, `weir_pool_idle{cluster="`+name+`"}`); got != value {
				t.Errorf("%s has %v, want %v", name, got, value)
			}
		}
		if got := seriesValue(t, page, "weir_twice"); got != 3 {
			t.Errorf("a series given twice is %v, want the sum 3", got)
		}
	}
	check(map[string]float64{"a": 1, "b": 2, "c": 3, "other": -1})
	clusters = []string{"0", "1", "a", "b", "c"} // those with a seat keep it
	check(map[string]float64{"a": 3, "b": 4, "c": 5, "other": 3})
	clusters = []string{"1", "c"}
	check(map[string]float64{"1": 1, "c": 2, "other": -1})
}

func TestRefusalsAreBounded(t *testing.T) {
	r := newRecorder(t, metricsOnly(1000))
	req := exchange(r)
	for i := range 100 {
		req.Exchange.RetryRefused = fmt.Sprint("reason-", i)
		r.Done(req)
	}
	page := scrape(t, r, "")
	if n := strings.Count(page, "\nweir_upstream_retries_refused_total{"); n != maxRefusals {
		t.Errorf("%d reasons, want %d", n, maxRefusals)
	}
	if got := seriesValue(t, page, `weir_upstream_retries_refused_total{reason="other"}`); got != 85 {
		t.Errorf("other has %v, want 85", got)
	}
}

// TestNativeHistogram compares our buckets with those of the client library.
func TestNativeHistogram(t *testing.T) {
	reference := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "reference", Help: "x", Buckets: bounds(),
		NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: histogram.ZeroThreshold,
	})
	ours := &durations{counts: new(histogram.Durations)}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		d := time.Duration(math.Exp(rng.Float64() * math.Log(1e13)))
		ours.counts.Observe(d)
		reference.Observe(d.Seconds())
	}
	var got, want dto.Metric
	if err := ours.Write(&got); err != nil {
		t.Fatal(err)
	}
	if err := reference.Write(&want); err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Histogram.GetSampleSum()-want.Histogram.GetSampleSum()) > 1e-6*want.Histogram.GetSampleSum() {
		t.Errorf("sum %v, want %v", got.Histogram.GetSampleSum(), want.Histogram.GetSampleSum())
	}
	if diff := cmp.Diff(expand(want.Histogram), expand(got.Histogram)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(fixed(want.Histogram), fixed(got.Histogram)); diff != "" {
		t.Error(diff)
	}
	for name, of := range map[string]func(*dto.Histogram) any{
		"count":          func(h *dto.Histogram) any { return h.GetSampleCount() },
		"schema":         func(h *dto.Histogram) any { return h.GetSchema() },
		"zero threshold": func(h *dto.Histogram) any { return h.GetZeroThreshold() },
		"zero count":     func(h *dto.Histogram) any { return h.GetZeroCount() },
	} {
		if of(got.Histogram) != of(want.Histogram) {
			t.Errorf("%s is %v, want %v", name, of(got.Histogram), of(want.Histogram))
		}
	}
}

func fixed(h *dto.Histogram) map[float64]uint64 {
	counts := map[float64]uint64{}
	for _, b := range h.Bucket {
		counts[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	return counts
}

func bounds() []float64 {
	var list []float64
	for _, bound := range histogram.Bounds {
		list = append(list, bound.Seconds())
	}
	return list
}

// expand is the count of each native bucket that is not empty.
func expand(h *dto.Histogram) map[int32]int64 {
	counts := map[int32]int64{}
	at, delta, n := int32(0), 0, int64(0)
	for _, span := range h.PositiveSpan {
		at += span.GetOffset()
		for range span.GetLength() {
			n += h.PositiveDelta[delta]
			if n != 0 {
				counts[at] = n
			}
			at, delta = at+1, delta+1
		}
	}
	return counts
}

// TestProtobuf: the protobuf format has fixed and native buckets in one.
func TestProtobuf(t *testing.T) {
	r := newRecorder(t, metricsOnly(1000))
	r.Done(exchange(r))
	page := scrape(t, r, string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	decoder := expfmt.NewDecoder(strings.NewReader(page), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); err != nil {
			t.Fatalf("weir_request_duration_seconds is missing: %v", err)
		}
		if f.GetName() != "weir_request_duration_seconds" {
			continue
		}
		h := f.Metric[0].Histogram
		if h.GetSchema() != 3 || len(h.PositiveSpan) != 1 || len(h.Bucket) != len(histogram.Bounds) {
			t.Errorf("histogram is %v", h)
		}
		return
	}
}

// TestDocs: every family of the recorder stands in docs/metrics.md with its help.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		labels := append([]string(nil), f.labels...)
		for i := range labels {
			labels[i] = "`" + labels[i] + "`"
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, f.kind, strings.Join(labels, ", "), f.help)
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/metrics.md has not the row\n%s", row)
		}
	}
}

// TestEveryNameIsDocumented finds the families that other packages give to
// Register: their names and helps are literals.
func TestEveryNameIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`(?:(gauge|counter)\(|Name: )"(weir_[a-z0-9_]+)",(?: Help:)? "([^"]*)"`)
	found := 0
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range literal.FindAllStringSubmatch(string(source), -1) {
			found++
			if name, help := m[2], m[3]; !regexp.MustCompile("(?m)^\\| `" + name + "` \\|.*\\| " + regexp.QuoteMeta(help) + " \\|$").Match(page) {
				t.Errorf("%s: %s is not in docs/metrics.md with its help %q: add a row", path, name, help)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 10 {
		t.Errorf("found %d families of other packages: the search is broken", found)
	}
}

// TestFamilies: what is documented is what is served, and nothing else.
func TestFamilies(t *testing.T) {
	r := newRecorder(t, metricsOnly(1000))
	r.Done(grpcCall(r, "shop.Orders", 0))
	var got, want []string
	for line := range strings.Lines(scrape(t, r, "")) {
		if name, ok := strings.CutPrefix(line, "# HELP weir_"); ok {
			got = append(got, strings.TrimSpace(name))
		}
	}
	for _, f := range families {
		want = append(want, strings.TrimPrefix(f.name, "weir_")+" "+f.help)
	}
	sort.Strings(got)
	sort.Strings(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkScrape(b *testing.B) {
	r := newRecorder(b, metricsOnly(6000))
	for i := range 500 {
		req := exchange(r)
		req.Exchange.Route = r.RouteLabel(fmt.Sprint("route-", i))
		for id := range uint64(4) {
			req.Conn = &stream.Conn{ID: id}
			r.Done(req)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, r, "")
	}
}
