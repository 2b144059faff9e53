package record

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/weirproxy/weir/internal/histogram"
)

// maxScrapes bounds the scrapes under way; more get 503.
const maxScrapes = 8

// newHandler is called by the first scrape: who does not scrape does not pay.
func (r *Recorder) newHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		scraper{r},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(r.logger.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // one bad sample must not hide the others
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
}

// scraper is the recorder as a collector. It describes nothing, because the
// families of the sources are known only when they are asked.
type scraper struct{ r *Recorder }

func (scraper) Describe(chan<- *prometheus.Desc) {}

func (s scraper) Collect(metrics chan<- prometheus.Metric) {
	r := s.r
	r.scrape.Lock()
	defer r.scrape.Unlock()
	r.write(writer{
		number: func(f *family, value float64, labels ...string) {
			kind := prometheus.CounterValue
			if f.kind == gauges {
				kind = prometheus.GaugeValue
			}
			metrics <- prometheus.MustNewConstMetric(f.desc(), kind, value, labels...)
		},
		buckets: func(f *family, h *histogram.Durations, labels ...string) {
			metrics <- &durations{desc: f.desc(), labels: prometheus.MakeLabelPairs(f.desc(), labels), counts: h}
		},
	})
	for _, sample := range r.samples() {
		metrics <- constant(sample)
	}
}

func (f *family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.name, f.help, f.labels, nil)
}

func constant(s Sample) prometheus.Metric {
	names, values := make([]string, len(s.Labels)), make([]string, len(s.Labels))
	for i, label := range s.Labels {
		names[i], values[i] = label[0], strings.ToValidUTF8(label[1], "\ufffd")
	}
	desc := prometheus.NewDesc(s.Name, s.Help, names, nil)
	kind := prometheus.GaugeValue
	if s.Type == Counter {
		kind = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(desc, kind, s.Value, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, fmt.Errorf("sample %s: %w", s.Name, err))
	}
	return m
}

// durations is a histogram with fixed and native buckets at once, which the
// constant histograms of the client library are not.
type durations struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	counts *histogram.Durations
}

func (d *durations) Desc() *prometheus.Desc { return d.desc }

func (d *durations) Write(out *dto.Metric) error {
	h := &dto.Histogram{
		SampleCount:   &d.counts.Count,
		SampleSum:     &d.counts.Sum,
		Schema:        pointer(int32(histogram.Schema)),
		ZeroThreshold: pointer(histogram.ZeroThreshold),
		ZeroCount:     &d.counts.Zero,
	}
	below := uint64(0)
	for i, bound := range histogram.Bounds {
		below += d.counts.Fixed[i]
		h.Bucket = append(h.Bucket, &dto.Bucket{
			UpperBound:      pointer(bound.Seconds()),
			CumulativeCount: pointer(below),
		})
	}
	h.PositiveSpan, h.PositiveDelta = spans(d.counts)
	out.Label, out.Histogram = d.labels, h
	return nil
}

// spans writes the buckets that are not empty as runs with gaps, and each
// count as the difference to the one before.
func spans(counts *histogram.Durations) (runs []*dto.BucketSpan, deltas []int64) {
	end, last := 0, int64(0) // behind the last run, as an index of Prometheus
	for i := range histogram.NumNative {
		n := counts.Native(i)
		if n == 0 {
			continue
		}
		at := i + histogram.First
		if len(runs) == 0 || at != end {
			runs = append(runs, &dto.BucketSpan{Offset: pointer(int32(at - end)), Length: pointer(uint32(0))})
		}
		*runs[len(runs)-1].Length++
		deltas = append(deltas, int64(n)-last)
		end, last = at+1, int64(n)
	}
	return runs, deltas
}

func pointer[T any](v T) *T { return &v }
