package transcode

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// library is the service of the tests, as protoc would describe it.
const library = `
name: "library.proto" package: "lib" syntax: "proto3"
dependency: ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/field_mask.proto",
  "google/protobuf/wrappers.proto", "google/protobuf/any.proto", "google/protobuf/struct.proto", "google/api/httpbody.proto"]
enum_type { name: "Kind" value { name: "KIND_NONE" number: 0 } value { name: "NOVEL" number: 1 } }
message_type { name: "Author" 
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "name" }
  field { name: "born" number: 2 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL json_name: "born" } }
message_type { name: "Book"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "name" }
  field { name: "display_name" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "title" }
  field { name: "author" number: 3 type: TYPE_MESSAGE type_name: ".lib.Author" label: LABEL_OPTIONAL json_name: "author" }
  field { name: "tags" number: 4 type: TYPE_STRING label: LABEL_REPEATED json_name: "tags" }
  field { name: "kind" number: 5 type: TYPE_ENUM type_name: ".lib.Kind" label: LABEL_OPTIONAL json_name: "kind" }
  field { name: "pages" number: 6 type: TYPE_INT32 label: LABEL_OPTIONAL json_name: "pages" }
  field { name: "isbn" number: 7 type: TYPE_UINT64 label: LABEL_OPTIONAL json_name: "isbn" }
  field { name: "lent" number: 8 type: TYPE_BOOL label: LABEL_OPTIONAL json_name: "lent" }
  field { name: "cover" number: 9 type: TYPE_BYTES label: LABEL_OPTIONAL json_name: "cover" }
  field { name: "weight" number: 10 type: TYPE_DOUBLE label: LABEL_OPTIONAL json_name: "weight" }
  field { name: "loan" number: 11 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL json_name: "loan" }
  field { name: "mask" number: 12 type: TYPE_MESSAGE type_name: ".google.protobuf.FieldMask" label: LABEL_OPTIONAL json_name: "mask" }
  field { name: "rating" number: 13 type: TYPE_MESSAGE type_name: ".google.protobuf.Int32Value" label: LABEL_OPTIONAL json_name: "rating" }
  field { name: "note" number: 14 type: TYPE_MESSAGE type_name: ".google.protobuf.StringValue" label: LABEL_OPTIONAL json_name: "note" }
  field { name: "extra" number: 15 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL json_name: "extra" }
  field { name: "free" number: 16 type: TYPE_MESSAGE type_name: ".google.protobuf.Struct" label: LABEL_OPTIONAL json_name: "free" }
  field { name: "paper" number: 17 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "paper" oneof_index: 0 }
  field { name: "file" number: 18 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "file" oneof_index: 0 }
  field { name: "parts" number: 19 type: TYPE_MESSAGE type_name: ".lib.Book" label: LABEL_REPEATED json_name: "parts" }
  field { name: "content" number: 20 type: TYPE_MESSAGE type_name: ".google.api.HttpBody" label: LABEL_OPTIONAL json_name: "content" }
  field { name: "kinds" number: 21 type: TYPE_ENUM type_name: ".lib.Kind" label: LABEL_REPEATED json_name: "kinds" }
  field { name: "times" number: 22 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_REPEATED json_name: "times" }
  oneof_decl { name: "form" } }
service { name: "Library"
  method { name: "Get" input_type: ".lib.Book" output_type: ".lib.Book" options { [google.api.http] {
    get: "/v1/{name=shelves/*/books/*}"
    additional_bindings { get: "/v1/authors/{author.name}/first" }
    additional_bindings { custom { kind: "LINK" path: "/v1/link/{name}" } }
    additional_bindings { get: "/v1/all/{name=**}" }
    additional_bindings { get: "/v1/tagged/{tags_are_not_here=*}" } } } }
  method { name: "Create" input_type: ".lib.Book" output_type: ".lib.Book" options { [google.api.http] { post: "/v1/books" body: "*"
    additional_bindings { put: "/v1/books/{name}" body: "*" }
    additional_bindings { patch: "/v1/{name=books/*}/author" body: "author" }
    additional_bindings { put: "/v1/{name=books/*}/tags" body: "tags" response_body: "tags" }
    additional_bindings { put: "/v1/{name=books/*}/title" body: "display_name" response_body: "display_name" }
    additional_bindings { put: "/v1/{name=books/*}/content" body: "content" response_body: "content" } } } }
  method { name: "Cancel" input_type: ".lib.Book" output_type: ".lib.Book" options { [google.api.http] { post: "/v1/{name=books/*}:cancel" body: "*" } } }
  method { name: "Watch" input_type: ".lib.Book" output_type: ".lib.Book" server_streaming: true options { [google.api.http] { get: "/v1/watch/{name}" } } }
  method { name: "Upload" input_type: ".lib.Book" output_type: ".lib.Book" client_streaming: true options { [google.api.http] { post: "/v1/upload/{author.name}" body: "*" } } }
  method { name: "Chat" input_type: ".lib.Book" output_type: ".lib.Book" client_streaming: true server_streaming: true options { [google.api.http] { post: "/v1/chat" body: "*" } } }
  method { name: "Raw" input_type: ".google.api.HttpBody" output_type: ".google.api.HttpBody" options { [google.api.http] { post: "/v1/raw" body: "*" } } }
  method { name: "RawDown" input_type: ".lib.Book" output_type: ".google.api.HttpBody" server_streaming: true options { [google.api.http] { get: "/v1/raw/down" } } }
  method { name: "RawUp" input_type: ".google.api.HttpBody" output_type: ".lib.Book" client_streaming: true options { [google.api.http] { post: "/v1/raw/up" body: "*" } } }
  method { name: "Plain" input_type: ".lib.Book" output_type: ".lib.Book" }
}`

const httpBodyFile = `
name: "google/api/httpbody.proto" package: "google.api" syntax: "proto3"
message_type { name: "HttpBody"
  field { name: "content_type" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "contentType" }
  field { name: "data" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL json_name: "data" } }`

// librarySet is library with its imports. The one binding that is wrong in it
// is left out unless broken.
func librarySet(t testing.TB, broken bool) *descriptorpb.FileDescriptorSet {
	t.Helper()
	text := library
	if !broken {
		text = strings.Replace(text, `additional_bindings { get: "/v1/tagged/{tags_are_not_here=*}" }`, "", 1)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, d := range []protoreflect.FileDescriptor{
		timestamppb.File_google_protobuf_timestamp_proto, durationpb.File_google_protobuf_duration_proto,
		fieldmaskpb.File_google_protobuf_field_mask_proto, wrapperspb.File_google_protobuf_wrappers_proto,
		anypb.File_google_protobuf_any_proto, structpb.File_google_protobuf_struct_proto,
	} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(d))
	}
	for _, source := range []string{httpBodyFile, text} {
		file := &descriptorpb.FileDescriptorProto{}
		if err := prototext.Unmarshal([]byte(source), file); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, file)
	}
	return set
}

// settingsFor writes the descriptors to a file and names it.
func settingsFor(t testing.TB, more string) string {
	t.Helper()
	content, err := proto.Marshal(librarySet(t, false))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "library.pb")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "{descriptors: {file: " + path + "}" + more + "}"
}

// upstream is a gRPC server in memory that speaks JSON to the test.
type upstream struct {
	t     testing.TB
	files *protoregistry.Files
	// got is what came: the path, then each message.
	got []string
	// reply are the messages to answer with; nil: what came.
	reply []string
	// status, message and details go into the trailer; early: into the header.
	status  int
	message string
	details []byte
	early   bool
	// change, when not nil, spoils the answer.
	change func(*stream.Response)
	gotErr error
	header stream.Header
	grpc   stream.GRPC
}

func newUpstream(t testing.TB) *upstream {
	files, err := protodesc.NewFiles(librarySet(t, false))
	if err != nil {
		t.Fatal(err)
	}
	return &upstream{t: t, files: files}
}

func (u *upstream) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	u.got, u.header, u.grpc = []string{req.Method + " " + req.Target.RequestURI()}, req.Header.Clone(), req.GRPC
	if req.GRPC == stream.NotGRPC {
		return filtertest.Response(200, "passed", "Content-Type: text/plain"), nil
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(req.Target.Path, "/"), "/")
	d, err := u.files.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		u.t.Errorf("%s: %v", req.Target.Path, err)
		return filtertest.Response(404, ""), nil
	}
	method := d.(protoreflect.MethodDescriptor)
	f := frames{body: req.Body, max: 1 << 20}
	for {
		message, err := f.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			u.gotErr = err
			return nil, stream.AsFault(err)
		}
		u.got = append(u.got, u.json(method.Input(), message))
	}
	return u.answer(method), nil
}

func (u *upstream) json(d protoreflect.MessageDescriptor, message []byte) string {
	m := dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(message, m); err != nil {
		u.t.Errorf("a message is malformed: %v", err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, Resolver: dynamicpb.NewTypes(u.files)}.Marshal(m)
	if err != nil {
		u.t.Error(err)
	}
	return compact(string(text))
}

func (u *upstream) answer(method protoreflect.MethodDescriptor) *stream.Response {
	resp := &stream.Response{Status: 200, Length: -1, Header: filtertest.Header("Content-Type: application/grpc", "X-Meta: 1", "grpc-encoding: identity")}
	var content []byte
	reply := u.reply
	if reply == nil && method.Output().FullName() == method.Input().FullName() {
		reply = u.got[1:]
	}
	for _, text := range reply {
		m := dynamicpb.NewMessage(method.Output())
		if err := (protojson.UnmarshalOptions{Resolver: dynamicpb.NewTypes(u.files)}).Unmarshal([]byte(text), m); err != nil {
			u.t.Errorf("reply %s: %v", text, err)
		}
		message, err := proto.Marshal(m)
		if err != nil {
			u.t.Error(err)
		}
		at := len(content)
		content = append(append(content, make([]byte, frameHead)...), message...)
		closeFrame(content, at)
	}
	end := filtertest.Header("grpc-status: "+strconv.Itoa(u.status), "grpc-message: "+u.message, "x-trailer: 1")
	if u.details != nil {
		end.Add("grpc-status-details-bin", b64(u.details))
	}
	if u.early {
		for _, f := range end.Fields() {
			resp.Header.Append(f)
		}
		resp.Body = stream.NoBody
	} else {
		resp.Body = &wire{reads: split(content), trailer: &end}
	}
	if u.change != nil {
		u.change(resp)
	}
	return resp
}

// split gives reads of 7 bytes, so that no frame comes in one.
func split(content []byte) (reads []string) {
	for len(content) > 7 {
		reads, content = append(reads, string(content[:7])), content[7:]
	}
	return append(reads, string(content))
}

// wire is a body whose reads are given one by one.
type wire struct {
	reads   []string
	trailer *stream.Header
	last    error
	waits   int
	closes  int
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.reads) == 0 {
		if w.last != nil {
			return 0, w.last
		}
		return 0, io.EOF
	}
	n := copy(p, w.reads[0])
	if w.reads[0] = w.reads[0][n:]; w.reads[0] == "" {
		w.reads = w.reads[1:]
	}
	return n, nil
}
func (w *wire) Close() error            { w.closes++; return nil }
func (w *wire) Trailer() *stream.Header { return w.trailer }
func (w *wire) Await() error            { w.waits++; return nil }

// compact takes out the spaces that protojson puts in at random.
func compact(text string) string {
	var out bytes.Buffer
	if json.Compact(&out, []byte(text)) != nil {
		return text
	}
	return out.String()
}

// outcome is an answer in short.
type outcome struct {
	status int
	header stream.Header
	body   string
	fault  *stream.Fault
	err    error // of the body
}

func do(t testing.TB, service stream.Service, req *stream.Request) outcome {
	t.Helper()
	resp, err := service.Serve(context.Background(), req)
	if (resp == nil) == (err == nil) {
		t.Fatalf("response %v and error %v", resp, err)
	}
	if err != nil {
		fault, ok := err.(*stream.Fault)
		if !ok {
			t.Fatalf("the error %v is no fault", err)
		}
		return outcome{fault: fault}
	}
	content, err := io.ReadAll(resp.Body)
	if resp.Length >= 0 && resp.Length != int64(len(content)) && err == nil {
		t.Errorf("length %d, content of %d bytes", resp.Length, len(content))
	}
	resp.Body.Close()
	return outcome{status: resp.Status, header: resp.Header, body: string(content), err: err}
}

func (o outcome) String() string {
	return fmt.Sprintf("%d %s (fault %v, %v)", o.status, o.body, o.fault, o.err)
}

func request(method, url, body string, fields ...string) *stream.Request {
	req := filtertest.Request(method, url, fields...)
	if body != "" {
		filtertest.WithBody(req, body)
	}
	return req
}
