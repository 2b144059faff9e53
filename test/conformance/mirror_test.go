package conformance

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weirproxy/weir/test/process"
)

// shadowServer is the server of gRPC's tests, but for UnaryCall, which fails. It
// is where copies go.
func shadowServer(t *testing.T) net.Addr {
	ln := listen(t)
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if info.FullMethod == testgrpc.TestService_UnaryCall_FullMethodName {
			return nil, status.Error(codes.DataLoss, "the shadow is another one")
		}
		return next(ctx, req)
	}))
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	return ln.Addr()
}

// TestMirroredCalls: calls of every kind are copied to a server of gRPC, which
// takes them as it would a client's; their statuses are compared, and each copy
// has a line in the access log.
func TestMirroredCalls(t *testing.T) {
	dir := t.TempDir()
	weir := process.Start(t, dir, fmt.Sprintf(`
admin: {address: "unix:%s"}
access_log: {format: text, template: "{cluster} {grpc_method} {status} {grpc_status} {copy}"}
listeners:
  - {name: clear, address: "127.0.0.1:0"}
clusters:
  - {name: upstream, protocol: h2c, endpoints: [%q]}
  - {name: shadow, protocol: h2c, endpoints: [%q]}
routes:
  - name: all
    filters: [{mirror: {to: shadow, methods: [POST], budget: {max_body: 1MiB}, compare: {}}}]
    to: [{cluster: upstream}]
`, process.AdminSocket(dir), grpcServer(t), shadowServer(t)))
	t.Cleanup(func() { weir.Stop(t) })
	conn, err := grpc.NewClient("passthrough:///"+weir.Address(t, "clear"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testgrpc.NewTestServiceClient(conn)
	for _, c := range []struct {
		run  func(context.Context, testgrpc.TestServiceClient)
		line string
	}{
		{func(ctx context.Context, c testgrpc.TestServiceClient) { interop.DoEmptyUnaryCall(ctx, c) }, "shadow EmptyCall 200 OK answered"},
		{func(ctx context.Context, c testgrpc.TestServiceClient) { interop.DoClientStreaming(ctx, c) }, "shadow StreamingInputCall 200 OK answered"},
		{func(ctx context.Context, c testgrpc.TestServiceClient) { interop.DoServerStreaming(ctx, c) }, "shadow StreamingOutputCall 200 OK answered"},
		{func(ctx context.Context, c testgrpc.TestServiceClient) { interop.DoPingPong(ctx, c) }, "shadow FullDuplexCall 200 OK answered"},
		{func(ctx context.Context, c testgrpc.TestServiceClient) { interop.DoLargeUnaryCall(ctx, c) }, "shadow UnaryCall 200 DATA_LOSS answered"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c.run(ctx, client)
		cancel()
		weir.Logged(t, c.line)
	}
	weir.Said(t, "a response of the shadow differs")
	for _, line := range []string{"upstream EmptyCall 200 OK -", "upstream UnaryCall 200 OK -"} {
		weir.Logged(t, line)
	}
}
