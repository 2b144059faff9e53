package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/loadreport"
	"github.com/weirproxy/weir/stream"
)

// TestLoadReports: reports become weights, and clients do not see them.
func TestLoadReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, on := range []bool{true, false} {
			f := newFixture(2, func(c *Config) { c.LoadReports = on })
			for i, u := range f.up {
				value := []string{"TEXT cpu_utilization=0.5,rps_fractional=100", `JSON {"cpu_utilization": 0.25, "rps_fractional": 100}`}[i]
				u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
					resp := u.respond(200)
					resp.Header.Add(loadreport.Header, value)
					return resp, nil
				}
			}
			for _, i := range []int{0, 1} {
				f.up[1-i].ep.Checked(false, 0, "test", time.Now())
				f.up[i].ep.Checked(true, 0, "", time.Now())
				resp, err := f.ForRoute(retries(1)).Serve(t.Context(), request("GET"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if _, shown := resp.Header.Get(loadreport.Header); shown == on {
					t.Errorf("load_reports %v: the client sees the report: %v", on, shown)
				}
			}
			time.Sleep(time.Minute)
			f.Endpoints().Weigh(time.Now())
			want := [2]float64{1, 1}
			if on {
				want = [2]float64{2.0 / 3, 4.0 / 3}
			}
			if got := [2]float64{f.up[0].ep.Factor(), f.up[1].ep.Factor()}; got != want {
				t.Errorf("load_reports %v: factors %v, want %v", on, got, want)
			}
		}
	})
}

func TestBadLoadReport(t *testing.T) {
	f := newFixture(1, func(c *Config) { c.LoadReports = true })
	f.up[0].serve = func(context.Context, *stream.Request) (*stream.Response, error) {
		resp := f.up[0].respond(200)
		resp.Header.Add(loadreport.Header, "BIN CgQ")
		return resp, nil
	}
	if got := outcome(f.ForRoute(retries(1)).Serve(t.Context(), request("GET"))); got != "200" || f.Stats.ReportsBad.Load() != 1 {
		t.Errorf("%s, %d bad reports", got, f.Stats.ReportsBad.Load())
	}
}
