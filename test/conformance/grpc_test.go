package conformance

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	report "github.com/cncf/xds/go/xds/data/orca/v3"
	reportservice "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
)

// channel is what a case calls through.
type channel struct {
	*grpc.ClientConn
	testgrpc.TestServiceClient
	dial func() *grpc.ClientConn // another
}

// grpcCases are the interoperability cases of gRPC, by their official names.
// Left out are those that are about logging in at Google, which needs accounts
// (compute_engine_creds, jwt_token_creds, oauth2_auth_token, per_rpc_creds,
// google_default_credentials, compute_engine_channel_credentials), those about
// compression that the suite for Go does not have (client_compressed_*,
// server_compressed_*: the large cases run compressed instead), and
// cacheable_unary, which it does not have either.
var grpcCases = []struct {
	name string
	run  func(ctx context.Context, c channel)
}{
	{"empty_unary", func(ctx context.Context, c channel) { interop.DoEmptyUnaryCall(ctx, c) }},
	{"large_unary", func(ctx context.Context, c channel) { interop.DoLargeUnaryCall(ctx, c) }},
	{"large_unary compressed", func(ctx context.Context, c channel) {
		interop.DoLargeUnaryCall(ctx, c, grpc.UseCompressor(gzip.Name))
	}},
	{"client_streaming", func(ctx context.Context, c channel) { interop.DoClientStreaming(ctx, c) }},
	{"client_streaming compressed", func(ctx context.Context, c channel) {
		interop.DoClientStreaming(ctx, c, grpc.UseCompressor(gzip.Name))
	}},
	{"server_streaming", func(ctx context.Context, c channel) { interop.DoServerStreaming(ctx, c) }},
	{"server_streaming compressed", func(ctx context.Context, c channel) {
		interop.DoServerStreaming(ctx, c, grpc.UseCompressor(gzip.Name))
	}},
	{"ping_pong", func(ctx context.Context, c channel) { interop.DoPingPong(ctx, c) }},
	{"ping_pong compressed", func(ctx context.Context, c channel) {
		interop.DoPingPong(ctx, c, grpc.UseCompressor(gzip.Name))
	}},
	{"empty_stream", func(ctx context.Context, c channel) { interop.DoEmptyStream(ctx, c) }},
	{"timeout_on_sleeping_server", func(ctx context.Context, c channel) { interop.DoTimeoutOnSleepingServer(ctx, c) }},
	{"cancel_after_begin", func(ctx context.Context, c channel) { interop.DoCancelAfterBegin(ctx, c) }},
	{"cancel_after_first_response", func(ctx context.Context, c channel) { interop.DoCancelAfterFirstResponse(ctx, c) }},
	{"status_code_and_message", func(ctx context.Context, c channel) { interop.DoStatusCodeAndMessage(ctx, c) }},
	{"special_status_message", func(ctx context.Context, c channel) { interop.DoSpecialStatusMessage(ctx, c) }},
	{"custom_metadata", func(ctx context.Context, c channel) { interop.DoCustomMetadata(ctx, c) }},
	{"unimplemented_method", func(ctx context.Context, c channel) { interop.DoUnimplementedMethod(ctx, c.ClientConn) }},
	{"unimplemented_service", func(ctx context.Context, c channel) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(c.ClientConn))
	}},
	{"pick_first_unary", func(ctx context.Context, c channel) { interop.DoPickFirstUnary(ctx, c) }},
	{"orca_per_rpc", func(ctx context.Context, c channel) { interop.DoORCAPerRPCTest(ctx, c) }},
	{"orca_oob", func(ctx context.Context, c channel) { interop.DoORCAOOBTest(ctx, c) }},
	{"rpc_soak", func(ctx context.Context, c channel) {
		interop.DoSoakTest(ctx, soak(func() (*grpc.ClientConn, func()) { return c.ClientConn, func() {} }))
	}},
	{"channel_soak", func(ctx context.Context, c channel) {
		interop.DoSoakTest(ctx, soak(func() (*grpc.ClientConn, func()) {
			conn := c.dial()
			return conn, func() { conn.Close() }
		}))
	}},
}

func soak(channel func() (*grpc.ClientConn, func())) interop.SoakTestConfig {
	return interop.SoakTestConfig{
		RequestSize: 271828, ResponseSize: 314159, Iterations: 20, NumWorkers: 2, ChannelForTest: channel,
		PerIterationMaxAcceptableLatency: patience, OverallTimeout: patience,
	}
}

const patience = 30 * time.Second

func TestGRPC(t *testing.T) {
	// The suite ends the program when something is wrong.
	grpclog.SetLoggerV2(failing{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	f := start(t, grpcServer(t))
	for _, listener := range []string{"clear", "secure"} {
		t.Run(listener, func(t *testing.T) {
			dial := f.dial(t, listener)
			for _, test := range grpcCases {
				t.Run(test.name, func(t *testing.T) {
					defer func() {
						if failure := recover(); failure != nil {
							t.Error(failure)
						}
					}()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					conn := dial()
					defer conn.Close()
					test.run(ctx, channel{conn, testgrpc.NewTestServiceClient(conn), dial})
				})
			}
		})
	}
}

// failing makes a panic of what would end the program.
type failing struct{ grpclog.LoggerV2 }

func (failing) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (failing) Fatalln(args ...any)               { panic(fmt.Sprintln(args...)) }
func (failing) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// dial returns what makes a channel to a listener.
func (f *front) dial(t *testing.T, listener string) func() *grpc.ClientConn {
	creds := insecure.NewCredentials()
	if listener == "secure" {
		creds = credentials.NewTLS(&tls.Config{RootCAs: f.roots, ServerName: "site.test"})
	}
	address := f.Address(t, listener)
	return func() *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`))
		if err != nil {
			panic(err)
		}
		return conn
	}
}

func grpcServer(t *testing.T) net.Addr {
	ln := listen(t)
	server, recorder := grpc.NewServer(orca.CallMetricsServerOption(nil)), orca.NewServerMetricsRecorder()
	testgrpc.RegisterTestServiceServer(server, named{interop.NewTestServer(interop.NewTestServerOptions{MetricsRecorder: recorder})})
	reportservice.RegisterOpenRcaServiceServer(server, reporter{provider: recorder.(orca.ServerMetricsProvider)})
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	return ln.Addr()
}

// reporter reports as often as it is asked to. The service of gRPC itself takes 30
// seconds for each report unless it is built inside gRPC.
type reporter struct {
	reportservice.UnimplementedOpenRcaServiceServer
	provider orca.ServerMetricsProvider
}

func (r reporter) StreamCoreMetrics(req *reportservice.OrcaLoadReportRequest, out reportservice.OpenRcaService_StreamCoreMetricsServer) error {
	tick := time.NewTicker(req.GetReportInterval().AsDuration())
	defer tick.Stop()
	for {
		m := r.provider.ServerMetrics()
		if err := out.Send(&report.OrcaLoadReport{CpuUtilization: m.CPUUtilization, MemUtilization: m.MemUtilization, Utilization: m.Utilization}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

// named is a server that says who it is, which pick_first_unary wants.
type named struct{ testgrpc.TestServiceServer }

func (n named) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	resp, err := n.TestServiceServer.UnaryCall(ctx, req)
	if resp != nil && req.FillServerId {
		resp.ServerId = "the only one"
	}
	return resp, err
}
