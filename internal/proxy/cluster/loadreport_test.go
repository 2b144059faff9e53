package cluster

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/loadreport"
	"github.com/weirproxy/weir/stream"
)

// trailing is a body with a trailer.
type trailing struct {
	stream.Body
	trailer stream.Header
}

func (b *trailing) Trailer() *stream.Header { return &b.trailer }

// reports are the ways in which an endpoint says that it uses half of itself, or a
// quarter, for a hundred requests a second.
var reports = []struct {
	name    string
	field   string
	grpc    bool
	trailer bool
	values  [2]string
}{
	{"text and JSON", loadreport.Header, false, false, [2]string{"TEXT cpu_utilization=0.5,rps_fractional=100", `JSON {"cpu_utilization": 0.25, "rps_fractional": 100}`}},
	{"binary", loadreport.BinaryHeader, false, false, [2]string{"CQAAAAAAAOA/MQAAAAAAAFlA", "CQAAAAAAANA/MQAAAAAAAFlA"}},
	{"binary, the other field", loadreport.Header, false, false, [2]string{"BIN CQAAAAAAAOA/MQAAAAAAAFlA", "BIN CQAAAAAAANA/MQAAAAAAAFlA"}},
	{"gRPC", loadreport.BinaryHeader, true, true, [2]string{"CQAAAAAAAOA/MQAAAAAAAFlA", "CQAAAAAAANA/MQAAAAAAAFlA"}},
	{"gRPC, trailers only", loadreport.BinaryHeader, true, false, [2]string{"CQAAAAAAAOA/MQAAAAAAAFlA", "CQAAAAAAANA/MQAAAAAAAFlA"}},
}

// TestLoadReports: reports become weights, and clients do not see them.
func TestLoadReports(t *testing.T) {
	for _, way := range reports {
		for _, on := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(2, func(c *Config) { c.LoadReports = on })
				for i, u := range f.up {
					u.serve = func(context.Context, *stream.Request) (*stream.Response, error) {
						resp := u.respond(200)
						body := &trailing{Body: resp.Body}
						resp.Body = body
						to := &resp.Header
						if way.trailer {
							to = &body.trailer
						}
						to.Add(way.field, way.values[i])
						return resp, nil
					}
				}
				for _, i := range []int{0, 1} {
					f.up[1-i].ep.Checked(false, 0, "test", time.Now())
					f.up[i].ep.Checked(true, 0, "", time.Now())
					req := request("POST")
					if way.grpc {
						req.GRPC = stream.GRPCCall
					}
					resp, err := f.ForRoute(retries(1)).Serve(t.Context(), req)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_, shown := resp.Header.Get(way.field)
					_, trailed := resp.Body.Trailer().Get(way.field)
					resp.Body.Close()
					if (shown || trailed) == on {
						t.Errorf("%s, load_reports %v: the client sees the report: %v", way.name, on, !on)
					}
				}
				time.Sleep(time.Minute)
				f.Endpoints().Weigh(time.Now())
				want := [2]float64{1, 1}
				if on {
					want = [2]float64{2.0 / 3, 4.0 / 3}
				}
				if got := [2]float64{f.up[0].ep.Factor(), f.up[1].ep.Factor()}; got != want {
					t.Errorf("%s, load_reports %v: factors %v, want %v", way.name, on, got, want)
				}
			})
		}
	}
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
