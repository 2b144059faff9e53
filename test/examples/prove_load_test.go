package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/orca"
)

// busyService says with each answer how busy it is.
type busyService struct {
	testpb.UnimplementedTestServiceServer
}

func (busyService) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if r := orca.CallMetricsRecorderFromContext(ctx); r != nil {
		r.SetApplicationUtilization(0.5)
	}
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// setupLoadReports starts two servers of grpc-go that report in both ways, and one
// that does in none.
func setupLoadReports(t *testing.T) map[string]string {
	replace := map[string]string{public: anywhere}
	for i := range 3 {
		var options []grpc.ServerOption
		recorder := orca.NewServerMetricsRecorder()
		recorder.SetApplicationUtilization(0.5)
		recorder.SetQPS(100)
		if i < 2 {
			options = append(options, orca.CallMetricsServerOption(recorder))
		}
		ln, server := listen(t), grpc.NewServer(options...)
		testpb.RegisterTestServiceServer(server, busyService{})
		if i < 2 {
			if err := orca.Register(server, orca.ServiceOptions{ServerMetricsProvider: recorder}); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(ln) }()
		t.Cleanup(func() { server.Stop(); <-done })
		replace[fmt.Sprintf("127.0.0.1:900%d", i+1)] = ln.Addr().String()
	}
	return replace
}

func proveLoadReports(t *testing.T, x *running) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := x.client(t)
	for range 9 {
		var header, trailer metadata.MD
		if _, err := client.UnaryCall(ctx, simple("hi"), grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		if md := metadata.Join(header, trailer); len(md["endpoint-load-metrics-bin"]) > 0 {
			t.Errorf("the client sees the load of an endpoint: %v", md)
		}
	}
	for _, said := range []string{"an endpoint reports its load", "does not implement xds.service.orca.v3.OpenRcaService"} {
		if !x.stderr.await(said) {
			t.Fatalf("weir did not say %q:\n%s", said, x.stderr.String())
		}
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	var clusters []struct {
		Endpoints []struct {
			LoadStream string `json:"load_stream"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal([]byte(x.ask(call{listener: "admin", path: "/clusters"}).body), &clusters); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, e := range clusters[0].Endpoints {
		if e.LoadStream == "open" {
			open++
		}
	}
	metrics := x.ask(call{listener: "admin", path: "/metrics"}).body
	for _, want := range []string{
		fmt.Sprintf("weir_cluster_load_streams{cluster=\"workers\"} %d", open),
		`weir_cluster_load_stream_events_total{cluster="workers",event="bad_report"} 0`,
		`weir_cluster_load_stream_events_total{cluster="workers",event="failed"} 1`,
		`weir_cluster_events_total{cluster="workers",event="bad_load_report"} 0`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics does not have %s", want)
		}
	}
	if open == 0 {
		t.Errorf("no stream is open: %+v", clusters)
	}
}
