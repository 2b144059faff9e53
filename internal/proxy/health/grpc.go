package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/protofields"
	"github.com/weirproxy/weir/stream"
)

// Call makes one exchange with an endpoint over a connection of its own or a
// shared one, in the protocol of the cluster. It is an attempt that counts nowhere: req.Deadline and
// ctx bound it. It closes req.Body on every path; the caller closes the
// response's, which gives up what was not read.
type Call func(ctx context.Context, e *endpoint.Endpoint, req *stream.Request) (*stream.Response, error)

// healthPath is the method of grpc.health.v1 (gRPC "Health checking protocol").
const healthPath = "/grpc.health.v1.Health/Check"

// maxMessage bounds the answer, which is two bytes long.
const maxMessage = 4 << 10

// maxService bounds the name that is asked about.
const maxService = 1 << 10

// The values of ServingStatus.
const (
	servingUnknown = iota
	serving
	notServing
	serviceUnknown
)

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxMessage)

// callHealth asks an endpoint about the service of the document; nil means
// that it is serving.
func (c *Checker) callHealth(ctx context.Context, e *endpoint.Endpoint) error {
	resp, err := c.call(ctx, e, c.healthRequest(ctx, e))
	if err == nil {
		defer resp.Body.Close()
		err = c.readHealth(resp)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", healthPath, err)
	}
	return nil
}

func (c *Checker) healthRequest(ctx context.Context, e *endpoint.Endpoint) *stream.Request {
	req, content := c.request(ctx, e), healthMessage(c.spec.Service)
	req.Method, req.GRPC, req.Target.Path = "POST", stream.GRPCCall, healthPath
	req.Body, req.Length = stream.BytesBody(content), int64(len(content))
	req.Header.AddID(stream.ContentType, "application/grpc")
	req.Header.AddID(stream.UserAgent, "weir-health")
	left := max(time.Until(req.Deadline).Milliseconds(), 1)
	req.Header.Add("grpc-timeout", fmt.Sprint(min(left, 99_999_999), "m"))
	return req
}

// healthMessage is a HealthCheckRequest, {string service = 1}, in a gRPC frame.
func healthMessage(service string) []byte {
	var message []byte
	if service != "" {
		message = protofields.AppendBytes(nil, 1, service)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}

// readHealth judges an answer.
func (c *Checker) readHealth(resp *stream.Response) error {
	if resp.Status != 200 {
		return fmt.Errorf("HTTP status %d", resp.Status)
	}
	const grpc = "application/grpc"
	contentType, _ := resp.Header.GetID(stream.ContentType)
	if len(contentType) < len(grpc) || !stream.EqualFold(contentType[:len(grpc)], grpc) {
		return errors.New("the endpoint does not speak gRPC: its answer is no application/grpc")
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err != nil {
		return err
	}
	if len(content) > maxMessage {
		return errTooLong
	}
	code, ok := stream.GRPCStatus(resp.Body.Trailer())
	if !ok {
		code, ok = stream.GRPCStatus(&resp.Header)
	}
	switch {
	case !ok:
		return errors.New("the answer ends without a gRPC status")
	case code == grpcstatus.Unimplemented:
		return errors.New("the endpoint does not implement grpc.health.v1 (UNIMPLEMENTED); register the health service there, or use type http or tcp")
	case code == grpcstatus.NotFound:
		return fmt.Errorf("the endpoint does not know the service %q (NOT_FOUND)", c.spec.Service)
	case code != grpcstatus.OK:
		return fmt.Errorf("gRPC status %s", grpcstatus.Name(code))
	}
	return servingOf(content)
}

// servingOf reads a frame with a HealthCheckResponse, {ServingStatus status = 1}.
func servingOf(frame []byte) error {
	const head = 5
	switch {
	case len(frame) < head || uint64(binary.BigEndian.Uint32(frame[1:head])) != uint64(len(frame)-head):
		return errors.New("the answer is not one gRPC message")
	case frame[0] != 0:
		return errors.New("the answer is compressed, which was not offered")
	}
	status, err := firstVarint(frame[head:])
	if err != nil {
		return err
	}
	switch status {
	case serving:
		return nil
	case servingUnknown:
		return errors.New("not serving: UNKNOWN")
	case notServing:
		return errors.New("not serving: NOT_SERVING")
	case serviceUnknown:
		return errors.New("not serving: SERVICE_UNKNOWN")
	}
	return fmt.Errorf("not serving: status %d", status)
}

var errMessage = errors.New("the answer is no HealthCheckResponse")

// firstVarint is the value of field 1 as protobuf has it: the last of that
// number wins, others are skipped, and an absent one is 0.
func firstVarint(message []byte) (value uint64, err error) {
	err = protofields.Each(message, func(f protofields.Field) error {
		if f.Number == 1 && f.Kind == protofields.Varint {
			value = f.Value
		}
		return nil
	})
	if err != nil {
		return 0, errMessage
	}
	return value, nil
}

// checkGRPC refuses what cannot be asked.
func checkGRPC(call Call, service, host string) error {
	if call == nil {
		return errors.New("health: type grpc needs a way to make calls")
	}
	if len(service) > maxService || strings.ContainsFunc(service, outsideOfTarget) {
		return fmt.Errorf("health: service %q is not the name of a service", service)
	}
	if host == "" {
		return nil
	}
	if _, _, err := stream.ParseAuthority(host); err != nil {
		return fmt.Errorf("health: host %q is not a host: %w", host, err)
	}
	return nil
}
