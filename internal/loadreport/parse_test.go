package loadreport

import (
	"math"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	cases := []struct {
		value string
		want  Report
		err   string // "": none
	}{
		{"TEXT cpu_utilization=0.3, rps_fractional=10.5, eps=1, mem_utilization=0.8", Report{CPU: 0.3, RPS: 10.5, EPS: 1}, ""},
		{"TEXT named_metrics.kv_cache_usage_perc=0.4,application_utilization=1.5", Report{Application: 1.5}, ""},
		{`JSON {"cpu_utilization": 0.5, "rps_fractional": 20, "named_metrics": {"rps_fractional": 7}}`, Report{CPU: 0.5, RPS: 20}, ""},
		{`JSON {"cpuUtilization": 0.5, "rpsFractional": "20", "applicationUtilization": 0.25}`, Report{CPU: 0.5, RPS: 20, Application: 0.25}, ""},
		{"JSON {}", Report{}, ""},
		{"BIN CQAAAAAAAOA/MQAAAAAAACRA", Report{CPU: 0.5, RPS: 10}, ""},
		{"BIN ", Report{}, ""},
		{"", Report{}, "want TEXT, JSON or BIN"},
		{"BIN CgQ", Report{}, "not a message"},
		{"YAML a", Report{}, `"YAML" is not read`},
		{"TEXT", Report{}, "want TEXT, JSON or BIN"},
		{"TEXT ", Report{}, "is not name=value"},
		{"TEXT cpu_utilization", Report{}, "is not name=value"},
		{"TEXT cpu_utilization=much", Report{}, "no number"},
		{"TEXT cpu_utilization=-1", Report{}, "no load"},
		{"TEXT rps_fractional=Inf", Report{}, "no load"},
		{"TEXT eps=NaN", Report{}, "no load"},
		{`JSON {"cpu_utilization": {}}`, Report{}, "no number"},
		{`JSON [1]`, Report{}, "cannot unmarshal"},
		{`JSON {"eps": 1`, Report{}, "unexpected end"},
		{"TEXT " + strings.Repeat("a=1,", 2000) + "a=1", Report{}, "of at most 4096"},
	}
	for _, c := range cases {
		got, err := Parse(c.value)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.60s: %+v, %v; want %+v, %q", c.value, got, err, c.want, c.err)
		}
	}
}

func TestWeight(t *testing.T) {
	cases := []struct {
		report Report
		want   float64
	}{
		{Report{CPU: 0.5, RPS: 100}, 200},
		{Report{CPU: 0.5, Application: 0.25, RPS: 100}, 400},
		{Report{CPU: 0.5, RPS: 100, EPS: 50}, 100},
		{Report{CPU: 2, RPS: 100}, 50},
		{Report{RPS: 100}, 0},
		{Report{CPU: 0.5}, 0},
		{Report{CPU: 5e-324, RPS: math.MaxFloat64}, 0},
	}
	for _, c := range cases {
		if got := c.report.Weight(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.report, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("TEXT cpu_utilization=0.3,rps_fractional=10")
	f.Add(`JSON {"cpu_utilization": 0.5, "rps_fractional": 20, "eps": 1e400}`)
	f.Add("TEXT cpu_utilization=0x1p-2000,eps=+Inf")
	f.Fuzz(func(t *testing.T, value string) {
		r, err := Parse(value)
		if err != nil && r != (Report{}) {
			t.Errorf("%+v with an error", r)
		}
		for _, v := range []float64{r.CPU, r.Application, r.RPS, r.EPS, r.Weight()} {
			if !(v >= 0) || math.IsInf(v, 0) {
				t.Errorf("%q: %+v, weight %v", value, r, r.Weight())
			}
		}
	})
}
