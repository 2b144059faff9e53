package examples

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// testService is the service of the examples: UnaryCall says the same again.
// The payload chooses otherwise: "once" is unavailable the first time, and
// "wait" waits for the deadline of the client.
type testService struct {
	testpb.UnimplementedTestServiceServer
	calls chan string
}

func (s *testService) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	said := string(req.GetPayload().GetBody())
	switch said {
	case "once":
		select {
		case s.calls <- said:
			return nil, status.Error(codes.Unavailable, "not now")
		default:
		}
	case "wait":
		if _, has := ctx.Deadline(); !has {
			return nil, status.Error(codes.Internal, "no deadline came")
		}
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

// setupGRPC starts a gRPC server. Its service has another package than the one
// that the examples name.
func setupGRPC(t *testing.T) map[string]string {
	address, _ := serveGRPC(t, grpchealth.NewServer())
	return map[string]string{public: anywhere, "127.0.0.1:9001": address, "testing.TestService": "grpc.testing.TestService"}
}

// serveGRPC starts a gRPC server that tells when its health is asked for.
func serveGRPC(t *testing.T, checks healthpb.HealthServer) (address string, asked <-chan struct{}) {
	tell := make(chan struct{}, 1000)
	ln, server := listen(t), grpc.NewServer(grpc.UnaryInterceptor(
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if info.FullMethod == healthpb.Health_Check_FullMethodName {
				tell <- struct{}{}
			}
			return next(ctx, req)
		}))
	testpb.RegisterTestServiceServer(server, &testService{calls: make(chan string, 1)})
	healthpb.RegisterHealthServer(server, checks)
	reflection.Register(server)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return ln.Addr().String(), tell
}

// client is a gRPC client of the listener public.
func (x *running) client(t *testing.T) testpb.TestServiceClient {
	return testpb.NewTestServiceClient(x.clientConn(t))
}

func simple(body string) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte(body)}}
}

func proveGRPC(t *testing.T, x *running) {
	client := x.client(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, body := range []string{"hi", "once"} { // the second is tried again
		resp, err := client.UnaryCall(ctx, simple(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		x.equal("UnaryCall", string(resp.GetPayload().GetBody()), body)
	}
	short, stop := context.WithTimeout(ctx, patience/100)
	defer stop()
	if _, err := client.UnaryCall(short, simple("wait")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a deadline of the client: %v", err)
	}
	if _, err := client.EmptyCall(ctx, &testpb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("EmptyCall: %v, want the status of the service", err)
	}
	other := "/no.such.Service/Method"
	err := x.clientConn(t).Invoke(ctx, other, &testpb.Empty{}, &testpb.Empty{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "Nothing is served") {
		t.Errorf("%s: %v", other, err)
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	metrics := x.ask(call{listener: "admin", path: "/metrics"}).body
	if want := `weir_grpc_requests_total{cluster="testing",code="OK",route="testing",service="grpc.testing.TestService"} 2`; !strings.Contains(metrics, want) {
		t.Errorf("/metrics does not have %s", want)
	}
	x.stop()
	if log := x.stdout.String(); !strings.Contains(log, `"grpc_method":"UnaryCall","status":200,"grpc_status":"OK","attempts":2`) {
		t.Errorf("the access log does not tell of the second attempt:\n%s", log)
	}
}

func (x *running) clientConn(t *testing.T) *grpc.ClientConn {
	conn, err := grpc.NewClient(x.addrs["public"], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestGRPCHealth: with the line that grpc.yaml has as a comment, a server that
// says of itself that it does not serve gets no calls.
func TestGRPCHealth(t *testing.T) {
	checks := grpchealth.NewServer()
	checks.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	address, asked := serveGRPC(t, checks)
	x := exampleWith(t, "grpc.yaml", "# health: {type: grpc}", "health: {type: grpc, interval: 50ms}", map[string]string{
		public: anywhere, "127.0.0.1:9001": address, "testing.TestService": "grpc.testing.TestService",
	})
	for range 2 { // with the second the first is taken over
		<-asked
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := x.client(t).UnaryCall(ctx, simple("hi"))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "The service is not available.") {
		t.Errorf("a server that does not serve: %v", err)
	}
}

func proveGRPCWeb(_ *testing.T, x *running) {
	const path = "/grpc.testing.TestService/UnaryCall"
	message := "\x00\x00\x00\x00\x06\x1a\x04\x12\x02hi"
	a := x.ask(call{method: "POST", path: path, header: map[string]string{"Content-Type": "application/grpc-web"}, body: message})
	x.want("gRPC-Web", a, 200)
	x.equal("gRPC-Web", a.header.Get("Content-Type"), "application/grpc-web")
	if got := "\x00\x00\x00\x00\x06\n\x04\x12\x02hi\x80"; !strings.HasPrefix(a.body, got) || !strings.Contains(a.body, "grpc-status: 0\r\n") {
		x.t.Errorf("gRPC-Web: %q", a.body)
	}
}

func proveGRPCJSON(_ *testing.T, x *running) {
	const path, message = "/grpc.testing.TestService/UnaryCall", `{"payload":{"body":"aGk="}}`
	typed := map[string]string{"Content-Type": "application/json"}
	a := x.ask(call{method: "POST", path: path, header: typed, body: message})
	x.want("JSON", a, 200)
	x.equal("JSON", a.body, message)
	x.want("a field that is not there", x.ask(call{method: "POST", path: path, header: typed, body: `{"colour":1}`}), 400)
	x.want("another path", x.get("/"), 404)
}

// TestGRPCJSONFromFile: the other way to describe the services, with a path
// from an annotation.
func TestGRPCJSONFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "testing.pb")
	if err := os.WriteFile(file, annotated(t), 0o600); err != nil {
		t.Fatal(err)
	}
	x := exampleWith(t, "grpc-json.yaml", "reflection: true", "descriptors: {file: "+file+"}", setupGRPC(t))
	a := x.ask(call{method: "PUT", path: "/v1/payloads/1", header: map[string]string{"Content-Type": "application/json"}, body: `{"body":"aGk="}`})
	x.want("by its annotation", a, 200)
	x.equal("by its annotation", a.body, `{"payload":{"body":"aGk="}}`)
}

// annotated is what protoc writes of a service whose method has
// option (google.api.http) = {put: "/v1/payloads/{response_size}", body: "payload"}.
func annotated(t *testing.T) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(testpb.File_grpc_testing_test_proto)
	for _, service := range set.File[len(set.File)-1].Service {
		for _, method := range service.Method {
			if service.GetName() != "TestService" || method.GetName() != "UnaryCall" {
				continue
			}
			method.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(method.Options, annotations.E_Http, &annotations.HttpRule{
				Pattern: &annotations.HttpRule_Put{Put: "/v1/payloads/{response_size}"}, Body: "payload",
			})
		}
	}
	content, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
