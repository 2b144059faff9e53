package interop

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirproxy/weir/test/process"
)

// grpcServer answers with what comes, and with metadata in front and behind.
type grpcServer struct {
	testgrpc.UnimplementedTestServiceServer
}

func (grpcServer) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-front", "a"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-behind-bin", binary))
	if s := req.ResponseStatus; s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	return &testgrpc.SimpleResponse{Payload: req.Payload}, nil
}

func (grpcServer) FullDuplexCall(s testgrpc.TestService_FullDuplexCallServer) error {
	for {
		in, err := s.Recv()
		if err == io.EOF {
			return status.Error(codes.ResourceExhausted, message)
		}
		if err != nil {
			return err
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// TestGRPC calls with grpc-go. gRPC is spoken over HTTP/2 alone; HTTP/3 to a
// client or an upstream is not defined, and HTTP/1.1 has no trailers that a
// client of gRPC would read.
func TestGRPC(t *testing.T) {
	w := emptyWorld(t)
	for _, u := range upstreams {
		if u.version == "HTTP/2.0" {
			w.clusters.WriteString(u.cluster(u.name, u.serveGRPC(t, w.trust), ""))
			w.route(u.name, "headers: [{name: x-to, exact: "+u.name+"}]", "")
		}
	}
	w.start(t)
	for _, d := range downstreams {
		for _, u := range upstreams {
			if d.version != "HTTP/2.0" || u.version != "HTTP/2.0" {
				continue
			}
			t.Run(d.name+" to "+u.name, func(t *testing.T) {
				creds := insecure.NewCredentials()
				if d.tls {
					creds = credentials.NewTLS(w.trust.client())
				}
				conn, err := grpc.NewClient("passthrough:///"+w.Address(t, d.listener), grpc.WithTransportCredentials(creds))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				for _, test := range grpcCases {
					t.Run(test.name, func(t *testing.T) {
						ctx, cancel := context.WithTimeout(t.Context(), process.Patience)
						defer cancel()
						test.run(metadata.AppendToOutgoingContext(ctx, "x-to", u.name), t, testgrpc.NewTestServiceClient(conn))
					})
				}
			})
		}
	}
}

var grpcCases = []struct {
	name string
	run  func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient)
}{
	{"unary", func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
		var front, behind metadata.MD
		resp, err := client.UnaryCall(ctx, unary(content), grpc.Header(&front), grpc.Trailer(&behind))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(resp.Payload.Body); got != content {
			t.Errorf("%q", got)
		}
		if !slices.Equal(front["x-front"], []string{"a"}) || !slices.Equal(behind["x-behind-bin"], []string{binary}) {
			t.Errorf("metadata %v, %v", front, behind)
		}
	}},
	{"status in a head that is a trailer too", func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
		req := unary("")
		req.ResponseStatus = &testgrpc.EchoStatus{Code: int32(codes.FailedPrecondition), Message: message}
		var behind metadata.MD
		_, err := client.UnaryCall(ctx, req, grpc.Trailer(&behind))
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != message {
			t.Errorf("%v", err)
		}
		if !slices.Equal(behind["x-behind-bin"], []string{binary}) {
			t.Errorf("metadata %v", behind)
		}
	}},
	{"status behind a stream", func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
		calls, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"one", "", big} { // each waits for its answer
			if err := calls.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte(body)}}); err != nil {
				t.Fatal(err)
			}
			resp, err := calls.Recv()
			if err != nil || string(resp.Payload.GetBody()) != body {
				t.Fatalf("%d bytes, %v", len(resp.GetPayload().GetBody()), err)
			}
		}
		if err := calls.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, err = calls.Recv()
		if s := status.Convert(err); s.Code() != codes.ResourceExhausted || s.Message() != message {
			t.Errorf("%v", err)
		}
	}},
	{"deadline", func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		calls, err := client.FullDuplexCall(ctx)
		if err == nil {
			_, err = calls.Recv()
		}
		if status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
	}},
	{"nothing serves it", func(ctx context.Context, t *testing.T, client testgrpc.TestServiceClient) {
		ctx = metadata.NewOutgoingContext(ctx, nil) // no route
		_, err := client.UnaryCall(ctx, unary(content))
		if status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	}},
}

const (
	binary  = "\x00\xff"
	message = "ended: \u2714 100%"
)

func unary(body string) *testgrpc.SimpleRequest {
	return &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: []byte(body)}}
}

func (u upstream) serveGRPC(t *testing.T, c *trust) string {
	t.Helper()
	ln := listen(t)
	var options []grpc.ServerOption
	if u.tls {
		options = append(options, grpc.Creds(credentials.NewTLS(c.server())))
	}
	server := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(server, grpcServer{})
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	return ln.Addr().String()
}
