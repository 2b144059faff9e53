// Package loadreport reads what an endpoint says of its own load beside a
// response: an ORCA report in the header field endpoint-load-metrics, as TEXT or
// JSON. (The third form, BIN, is a message of protobuf in base64, and is not
// read.)
package loadreport

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Header is the name of the field.
const Header = "Endpoint-Load-Metrics"

// longest bounds a report: those in use have some hundred bytes.
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
		return Report{}, errors.New(`load report: want TEXT or JSON, a space and the report`)
	}
	switch form {
	case "TEXT":
		return parseText(content)
	case "JSON":
		return parseJSON(content)
	}
	return Report{}, fmt.Errorf("load report: the form %.10q is not read; want TEXT or JSON", form)
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
