package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weirproxy/weir/stream"
)

// What an upstream may describe.
const (
	maxDescribed = 16 << 20 // bytes of descriptors
	maxFiles     = 5000
	maxRounds    = 20 // of asking for files that others import
)

// The two versions of server reflection have the same messages.
var reflectionPaths = [...]string{
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

// The fields of ServerReflectionRequest and ServerReflectionResponse.
const (
	askFileByName   protowire.Number = 3
	askFileOfSymbol protowire.Number = 4
	askServices     protowire.Number = 7

	answerFiles    protowire.Number = 4
	answerServices protowire.Number = 6
	answerError    protowire.Number = 7
)

var errUnimplemented = errors.New("the upstream has no server reflection")

// question asks an upstream for its schema.
type question struct {
	next    stream.Service
	request *stream.Request // what each call is made from
	options options
	path    string // the version that the upstream knows

	files map[string]*descriptorpb.FileDescriptorProto
	bytes int
}

func (q *question) schema(ctx context.Context) (*schema, error) {
	var err error
	for _, q.path = range reflectionPaths {
		var s *schema
		if s, err = q.ask(ctx); !errors.Is(err, errUnimplemented) {
			return s, err
		}
	}
	return nil, err
}

func (q *question) ask(ctx context.Context) (*schema, error) {
	q.files, q.bytes = map[string]*descriptorpb.FileDescriptorProto{}, 0
	services := q.options.services
	if len(services) == 0 {
		if err := q.call(ctx, askServices, []string{"*"}, func(number protowire.Number, value []byte) error {
			if number == answerServices {
				services = append(services, serviceNames(value)...)
			}
			return nil
		}); err != nil {
			return nil, err
		}
		services = slices.DeleteFunc(services, isReflection)
	}
	if len(services) == 0 {
		return nil, errors.New("the upstream names no service")
	}
	if len(services) > maxServices {
		return nil, fmt.Errorf("the upstream names %d services, more than %d", len(services), maxServices)
	}
	if err := q.call(ctx, askFileOfSymbol, services, q.take); err != nil {
		return nil, err
	}
	for range maxRounds {
		missing := q.missing()
		if len(missing) == 0 {
			return q.compile()
		}
		if err := q.call(ctx, askFileByName, missing, q.take); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the files import one another too deep")
}

func isReflection(name string) bool {
	return name == "grpc.reflection.v1.ServerReflection" || name == "grpc.reflection.v1alpha.ServerReflection"
}

// serviceNames reads ListServiceResponse{repeated ServiceResponse service = 1}.
func serviceNames(message []byte) (names []string) {
	each(message, func(number protowire.Number, value []byte) {
		if number != 1 {
			return
		}
		each(value, func(number protowire.Number, value []byte) {
			if number == 1 {
				names = append(names, string(value))
			}
		})
	})
	return names
}

// take keeps files: FileDescriptorResponse{repeated bytes file_descriptor_proto = 1}.
func (q *question) take(number protowire.Number, value []byte) error {
	if number != answerFiles {
		return nil
	}
	var failed error
	each(value, func(number protowire.Number, value []byte) {
		if number != 1 || failed != nil {
			return
		}
		file := &descriptorpb.FileDescriptorProto{}
		if failed = (proto.UnmarshalOptions{RecursionLimit: maxDepth}).Unmarshal(value, file); failed == nil {
			q.files[file.GetName()] = file
		}
		if len(q.files) > maxFiles {
			failed = fmt.Errorf("more than %d files", maxFiles)
		}
	})
	return failed
}

// missing are the files that others import and that are not there.
func (q *question) missing() (names []string) {
	wanted := map[string]bool{}
	for _, file := range q.files {
		for _, name := range file.GetDependency() {
			if q.files[name] == nil && !wanted[name] {
				wanted[name] = true
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (q *question) compile() (*schema, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range q.files {
		set.File = append(set.File, file)
	}
	s, problems, err := compile(set, q.options)
	if err != nil {
		return nil, err
	}
	if s.methods == 0 {
		return nil, fmt.Errorf("nothing of what the upstream describes can be served (problems: %.200q)", problems)
	}
	return s, nil
}

// call asks for each name in one call, which ends with the last answer.
func (q *question) call(ctx context.Context, ask protowire.Number, names []string, take func(protowire.Number, []byte) error) error {
	var content []byte
	for _, name := range names {
		at := len(content)
		content = append(content, make([]byte, frameHead)...)
		content = protowire.AppendTag(content, ask, protowire.BytesType)
		content = protowire.AppendString(content, name)
		closeFrame(content, at)
	}
	req := *q.request
	req.Target = req.Target.WithPath(q.path)
	req.Body, req.Length = stream.BytesBody(content), int64(len(content))
	req.Header.AddID(stream.ContentType, "application/grpc")
	req.Header.Add("grpc-accept-encoding", "identity")
	resp, err := q.next.Serve(ctx, &req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := q.answers(resp, take); err != nil {
		return err
	}
	s, ok := statusOf(resp.Body.Trailer())
	if !ok {
		s, ok = statusOf(&resp.Header)
	}
	switch {
	case !ok:
		return errors.New("the answer has no grpc-status")
	case s.code == codeUnimplemented:
		return errUnimplemented
	case s.code != codeOK:
		return fmt.Errorf("gRPC status %d: %.200q", s.code, s.message)
	}
	return nil
}

func (q *question) answers(resp *stream.Response, take func(protowire.Number, []byte) error) error {
	if resp.Status == 404 {
		return errUnimplemented
	}
	if contentType, _ := resp.Header.GetID(stream.ContentType); resp.Status != 200 || !isGRPC(contentType) {
		return fmt.Errorf("the answer has status %d and the type %.80q", resp.Status, contentType)
	}
	f := frames{body: resp.Body, max: maxDescribed}
	for {
		message, err := f.next()
		if err == io.EOF { //nolint:errorlint // the contract of stream.Body
			return nil
		}
		if err != nil {
			return err
		}
		if q.bytes += len(message); q.bytes > maxDescribed {
			return fmt.Errorf("the descriptors are larger than %d bytes", maxDescribed)
		}
		var failed error
		whole := each(message, func(number protowire.Number, value []byte) {
			switch {
			case failed != nil:
			case number == answerError:
				failed = fmt.Errorf("the upstream refuses: %.200q", value)
			default:
				failed = take(number, value)
			}
		})
		if failed != nil {
			return failed
		}
		if !whole {
			return errors.New("the answer is malformed")
		}
	}
}

// seconds is the value of Retry-After.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
