package engine

import (
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/internal/proxy/record"
	"github.com/weirproxy/weir/stream"
)

// register makes the counters of all stages part of each scrape.
func (e *Engine) register() {
	e.recorder.Register(e.processSamples)
	e.recorder.Register(e.frontSamples)
	e.recorder.Register(e.upstreamSamples)
	e.recorder.Register(e.filterSamples)
	e.recorder.Register(e.overloadSamples)
	e.recorder.Register(e.placeSamples)
	e.recorder.Register(e.canarySamples)
	e.recorder.Register(e.canaries.samples)
	if e.cfg.Control.Metrics != nil {
		e.recorder.Register(e.cfg.Control.Metrics)
	}
}

// family is a metric of the engine, without its values.
type family struct {
	name, help string
	kind       record.Type
}

func gauge(name, help string) family   { return family{name, help, record.Gauge} }
func counter(name, help string) family { return family{name, help, record.Counter} }

// sample emits one value; labels are name, value, name, value, ...
func (f family) sample(emit func(record.Sample), value float64, labels ...string) {
	pairs := make([][2]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, [2]string{labels[i], labels[i+1]})
	}
	emit(record.Sample{Name: f.name, Help: f.help, Type: f.kind, Labels: pairs, Value: value})
}

// counted is a counter of a stage with the value of its label.
type counted struct {
	label string
	value *atomic.Int64
}

func (f family) each(emit func(record.Sample), values []counted, label string, labels ...string) {
	for _, c := range values {
		f.sample(emit, float64(c.value.Load()), append(labels[:len(labels):len(labels)], label, c.label)...)
	}
}

var (
	buildInfo   = gauge("weir_build_info", "1, with the version as a label.")
	startTime   = gauge("weir_start_timestamp_seconds", "When the process began to serve.")
	generations = gauge("weir_generation_timestamp_seconds", "When the running generation was put in place.")
	bgPanics    = counter("weir_background_panics_total", "Goroutines that serve no connection and panicked.")
)

// eachKind is a sample for each kind of fault that has occurred.
func (f family) eachKind(emit func(record.Sample), counts *[stream.NumKinds]atomic.Int64, labels ...string) {
	for kind := range stream.NumKinds {
		if n := counts[kind].Load(); n > 0 {
			f.sample(emit, float64(n), append(labels[:len(labels):len(labels)], "kind", kind.String())...)
		}
	}
}

func (e *Engine) processSamples(emit func(record.Sample)) {
	buildInfo.sample(emit, 1, "version", e.cfg.Version)
	startTime.sample(emit, seconds(e.started))
	bgPanics.sample(emit, float64(e.panics.Load()))
	if g := e.running.Load(); g != nil {
		generations.sample(emit, seconds(g.since))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
