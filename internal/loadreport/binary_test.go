package loadreport

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"

	orca "github.com/cncf/xds/go/xds/data/orca/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// full is a report with every field, as a service of gRPC would make it.
func full(t testing.TB) []byte {
	message, err := proto.MarshalOptions{Deterministic: true}.Marshal(&orca.OrcaLoadReport{
		CpuUtilization: 0.5, MemUtilization: 0.75, RpsFractional: 120, Eps: 3, ApplicationUtilization: 0.25,
		RequestCost: map[string]float64{"cost": 2}, Utilization: map[string]float64{"queue": 0.9}, NamedMetrics: map[string]float64{"n": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestParseBinary(t *testing.T) {
	want := Report{CPU: 0.5, Application: 0.25, RPS: 120, EPS: 3}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		if got, err := ParseBinary(encoding.EncodeToString(full(t))); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	double := func(number protowire.Number, v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(nil, number, protowire.Fixed64Type), math.Float64bits(v))
	}
	for name, c := range map[string]struct {
		value string
		want  Report
		err   string // "": none
	}{
		"nothing":               {"", Report{}, ""},
		"the last counts":       {base64.StdEncoding.EncodeToString(append(double(1, 0.1), double(1, 0.2)...)), Report{CPU: 0.2}, ""},
		"another kind":          {base64.StdEncoding.EncodeToString([]byte("\x08\x01")), Report{}, ""},
		"negative":              {base64.StdEncoding.EncodeToString(double(1, -1)), Report{}, "no load"},
		"not a number":          {base64.StdEncoding.EncodeToString(double(7, math.NaN())), Report{}, "no load"},
		"infinite":              {base64.StdEncoding.EncodeToString(double(6, math.Inf(1))), Report{}, "no load"},
		"cut off":               {base64.StdEncoding.EncodeToString(double(6, 1)[:5]), Report{}, "not a message"},
		"of URLs":               {"_-8", Report{}, "base64"},
		"two of them":           {"CQAAAAAAAOA/,CQAAAAAAAOA/", Report{}, "base64"},
		"bits beyond the bytes": {"CR", Report{}, "base64"},
		"too long":              {strings.Repeat("A", longest+4), Report{}, "of at most 4096"},
	} {
		got, err := ParseBinary(c.value)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %q", name, got, err, c.want, c.err)
		}
	}
}

// FuzzDecode holds it to the generated code: what that reads, this reads the same.
func FuzzDecode(f *testing.F) {
	f.Add(full(f))
	f.Add([]byte("\x09\x00\x00\x00\x00\x00\x00\xe0\x3f\x09\x00\x00\x00\x00\x00\x00\xe0\xbf"))
	f.Add([]byte("\x08\x01\x39\x00\x00\x00\x00\x00\x00\xf0\x7f"))
	f.Add([]byte("\x32\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := Decode(message)
		if err != nil && got != (Report{}) {
			t.Fatalf("%+v with an error", got)
		}
		var m orca.OrcaLoadReport
		if proto.Unmarshal(message, &m) != nil {
			return // it refuses texts that are not UTF-8, too, which are not looked at here
		}
		want := Report{CPU: m.CpuUtilization, Application: m.ApplicationUtilization, RPS: m.RpsFractional, EPS: m.Eps}
		if want.check() != nil {
			if err == nil {
				t.Errorf("%x: %+v is no load", message, got)
			}
			return
		}
		if err == nil && got != want {
			t.Errorf("%x: %+v, the generated code reads %+v", message, got, want)
		}
	})
}
