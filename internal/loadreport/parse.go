// Package loadreport reads what an endpoint says of its own load: a report of
// ORCA (xds.data.orca.v3.OrcaLoadReport) in the header field
// endpoint-load-metrics, as TEXT, JSON or BIN, in the field
// endpoint-load-metrics-bin, which gRPC sends as a trailer, or as a message of
// its own.
package loadreport

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weirproxy/weir/internal/protofields"
)

// The names of the fields. What stands in BinaryHeader is a message in base64.
const (
	Header       = "Endpoint-Load-Metrics"
	BinaryHeader = "Endpoint-Load-Metrics-Bin"
)

// longest bounds a report in a field: those in use have some hundred bytes.
const longest = 4 << 10

// Report is what a weight is made of. Everything else in a report is passed over.
type Report struct {
	CPU         float64 // share of the processors in use; may be more than 1
	Application float64 // the same as the application sees it; 0: not said
	RPS         float64 // requests per second, of all clients
	EPS         float64 // those of them that failed
}

// Weight is how much the endpoint can take, in requests per second for its whole
// capacity: what it serves by what of it that takes, failures counted on top
// (client-side weighted round robin, gRFC A58). 0: the report does not say.
func (r Report) Weight() float64 {
	used := r.Application
	if used <= 0 {
		used = r.CPU
	}
	if used <= 0 || r.RPS <= 0 {
		return 0
	}
	w := r.RPS / (used + r.EPS/r.RPS)
	if math.IsInf(w, 0) || math.IsNaN(w) {
		return 0
	}
	return w
}

// Parse reads the value of the field.
func Parse(value string) (Report, error) {
	if len(value) > longest {
		return Report{}, fmt.Errorf("load report: %d bytes, of at most %d", len(value), longest)
	}
	form, content, found := strings.Cut(value, " ")
	if !found {
		return Report{}, errors.New(`load report: want TEXT, JSON or BIN, a space and the report`)
	}
	switch form {
	case "TEXT":
		return parseText(content)
	case "JSON":
		return parseJSON(content)
	case "BIN":
		return ParseBinary(content)
	}
	return Report{}, fmt.Errorf("load report: the form %.10q is not read; want TEXT, JSON or BIN", form)
}

// ParseBinary reads the value of BinaryHeader: base64, padded or not, as gRPC has
// it for binary metadata.
func ParseBinary(value string) (Report, error) {
	if len(value) > longest {
		return Report{}, fmt.Errorf("load report: %d bytes, of at most %d", len(value), longest)
	}
	message, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return Report{}, errors.New("load report: it is not written in base64")
	}
	return Decode(message)
}

// Decode reads a report as a message. The last field of a number counts.
func Decode(message []byte) (r Report, err error) {
	err = protofields.Each(message, func(f protofields.Field) error {
		if f.Kind != protofields.Fixed64 {
			return nil
		}
		switch f.Number {
		case 1:
			r.CPU = f.Double()
		case 6:
			r.RPS = f.Double()
		case 7:
			r.EPS = f.Double()
		case 9:
			r.Application = f.Double()
		}
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("load report: %w", err)
	}
	return r, r.check()
}

// parseText reads name=value, separated by commas.
func parseText(content string) (r Report, err error) {
	for more := true; more; {
		var pair string
		pair, content, more = strings.Cut(content, ",")
		name, text, found := strings.Cut(strings.TrimSpace(pair), "=")
		if !found {
			return Report{}, fmt.Errorf("load report: %.40q is not name=value", pair)
		}
		field := r.field(strings.TrimSpace(name))
		if field == nil {
			continue
		}
		if *field, err = strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil {
			return Report{}, fmt.Errorf("load report: %s is %.40q, which is no number", name, text)
		}
	}
	return r, r.check()
}

// parseJSON reads an object, with the names of protobuf or those of its JSON.
func parseJSON(content string) (r Report, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(content), &members); err != nil {
		return Report{}, fmt.Errorf("load report: %w", err)
	}
	for name, raw := range members {
		field := r.field(name)
		if field == nil {
			continue
		}
		text := strings.Trim(string(raw), `"`) // a whole number of 64 bits is a text
		if *field, err = strconv.ParseFloat(text, 64); err != nil {
			return Report{}, fmt.Errorf("load report: %s is %.40q, which is no number", name, text)
		}
	}
	return r, r.check()
}

// field is where a value belongs; nil: it does not matter here.
func (r *Report) field(name string) *float64 {
	switch name {
	case "cpu_utilization", "cpuUtilization":
		return &r.CPU
	case "application_utilization", "applicationUtilization":
		return &r.Application
	case "rps_fractional", "rpsFractional":
		return &r.RPS
	case "eps":
		return &r.EPS
	}
	return nil
}

func (r *Report) check() error {
	for _, v := range []float64{r.CPU, r.Application, r.RPS, r.EPS} {
		if !(v >= 0) || math.IsInf(v, 0) {
			*r = Report{}
			return fmt.Errorf("load report: %v is no load", v)
		}
	}
	return nil
}
