package transcode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weirproxy/weir/stream"
)

// request replaces the body by that of the gRPC call. The response refuses the
// request in words for its sender; the error is a fault.
func (c *call) request(req *stream.Request, at *match) (*stream.Response, error) {
	if fault := c.media(req); fault != nil {
		return nil, fault
	}
	first := dynamicpb.NewMessage(c.binding.method.input)
	if err := c.parameters(first, &req.Target, at); err != nil {
		return c.refuse(err)
	}
	if c.binding.body != noBody && c.binding.method.clientStreaming {
		req.Body, req.Length = newUpload(c, req, first), -1
		return nil, nil
	}
	if c.binding.body != noBody {
		content, err := readAll(req, c.options.maxMessage)
		if err == nil {
			err = c.decode(first, content, req)
		}
		if err != nil {
			return c.refuse(err)
		}
	}
	frame, err := c.frame(nil, first)
	if err != nil {
		return c.refuse(err)
	}
	if err := req.Body.Close(); err != nil {
		return nil, stream.AsFault(err)
	}
	req.Body, req.Length, req.ExpectContinue = stream.BytesBody(frame), int64(len(frame)), false
	return nil, nil
}

// refuse: faults are answered as everywhere; other errors in the words of gRPC.
func (c *call) refuse(err error) (*stream.Response, error) {
	if fault, ok := err.(*stream.Fault); ok { //nolint:errorlint // one inside another error has words around it
		return nil, fault
	}
	return errorResponse(c.schema, status{code: codeInvalidArgument, message: words(err)}), nil
}

// words are those of err. protojson hides its prefix in odd spaces, lest
// somebody compares them.
func words(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.ToValidUTF8(strings.TrimPrefix(text, "proto: "), "?")
}

// media refuses content that is no JSON. A form that a page of another site
// sends has never the type of JSON, so this also keeps such pages out.
func (c *call) media(req *stream.Request) *stream.Fault {
	if c.binding.body == noBody || req.Length == 0 {
		return nil
	}
	if coding, found := req.Header.GetID(stream.ContentEncoding); found && !stream.EqualFold(coding, "identity") {
		return stream.Faultf(stream.ContentUnsupported, stream.RetryNever,
			"transcode: the content is encoded with %.40q; the filter compress in front of this one decodes it", coding)
	}
	if c.raw() != nil {
		return nil
	}
	contentType, found := req.Header.GetID(stream.ContentType)
	if found && !isJSON(contentType) {
		return stream.Faultf(stream.ContentUnsupported, stream.RetryNever, "transcode: the content is %.80q, and JSON is needed", contentType)
	}
	return nil
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.ToLower(strings.Trim(media, " \t")); media {
	case "application/json", "text/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq":
		return media != "application/json-seq" // RFC 7464 has separators of its own
	}
	return strings.HasSuffix(media, "+json")
}

// raw is the message that takes the content as it is (google.api.HttpBody), or
// nil when the content is JSON.
func (c *call) raw() protoreflect.MessageDescriptor {
	var d protoreflect.MessageDescriptor
	switch c.binding.body {
	case wholeBody:
		d = c.binding.method.input
	case fieldBody:
		if f := c.binding.bodyField; !f.IsList() && !f.IsMap() {
			d = f.Message()
		}
	}
	if isHTTPBody(d) {
		return d
	}
	return nil
}

// decode puts content into the message.
func (c *call) decode(m *dynamicpb.Message, content []byte, req *stream.Request) error {
	if c.raw() != nil {
		target := protoreflect.Message(m)
		if c.binding.body == fieldBody {
			target = m.Mutable(c.binding.bodyField).Message()
		}
		contentType, _ := req.Header.GetID(stream.ContentType)
		setHTTPBody(target, contentType, content)
		return nil
	}
	if len(bytes.TrimLeft(content, " \t\r\n")) == 0 {
		return nil // no content: no field is set
	}
	if c.binding.body == wholeBody {
		return c.merge(m, content)
	}
	// As an object with that one field, so that any type of field will do. What
	// is no JSON value by itself could close the object and open more.
	if !json.Valid(content) {
		return errors.New("the content is no JSON")
	}
	name, err := json.Marshal(c.binding.bodyField.JSONName())
	if err != nil {
		return err
	}
	object := make([]byte, 0, len(name)+len(content)+3)
	object = append(append(append(append(append(object, '{'), name...), ':'), content...), '}')
	return c.merge(m, object)
}

// merge reads a JSON object into a message that may have fields already; those
// of the path win.
func (c *call) merge(m *dynamicpb.Message, text []byte) error {
	if jsonCost(text) > c.options.cost() {
		return &stream.Fault{Kind: stream.BodyTooLarge, Limit: "transcode.max_message", Cause: errCost}
	}
	options := protojson.UnmarshalOptions{RecursionLimit: maxDepth, Resolver: c.schema.types}
	empty := true
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { empty = false; return false })
	if empty {
		return options.Unmarshal(text, m)
	}
	read := dynamicpb.NewMessage(m.Descriptor())
	if err := options.Unmarshal(text, read); err != nil {
		return err
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		overlay(read, f, v)
		return true
	})
	proto.Reset(m)
	read.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		m.Set(f, v)
		return true
	})
	return nil
}

// overlay sets a field; of messages the parts that are set.
func overlay(to protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	if f.Message() == nil || f.IsList() || f.IsMap() || !to.Has(f) {
		to.Set(f, v)
		return
	}
	below := to.Mutable(f).Message()
	v.Message().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		overlay(below, f, v)
		return true
	})
}

// frame appends the message to dst as a gRPC message.
func (c *call) frame(dst []byte, m proto.Message) ([]byte, error) {
	at := len(dst)
	dst, err := proto.MarshalOptions{}.MarshalAppend(append(dst, make([]byte, frameHead)...), m)
	if err != nil {
		return nil, err
	}
	if len(dst)-at-frameHead > c.options.maxMessage {
		return nil, &stream.Fault{Kind: stream.BodyTooLarge, Limit: "transcode.max_message"}
	}
	closeFrame(dst, at)
	return dst, nil
}

// readAll reads the content, of which there may be max bytes. The memory grows
// with what comes, not with what is declared.
func readAll(req *stream.Request, max int) ([]byte, error) {
	tooLarge := &stream.Fault{Kind: stream.BodyTooLarge, Limit: "transcode.max_message"}
	if req.Length > int64(max) {
		return nil, tooLarge
	}
	size := firstRead
	if 0 <= req.Length && req.Length < 64<<10 {
		size = int(req.Length) + 1 // and the read that finds the end
	}
	content := make([]byte, 0, size)
	for {
		n, err := req.Body.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		switch {
		case len(content) > max:
			return nil, tooLarge
		case err == io.EOF: //nolint:errorlint // the contract of stream.Body
			return content, nil
		case err != nil:
			return nil, err
		}
		if len(content) == cap(content) {
			grown := make([]byte, len(content), min(2*cap(content), max+1))
			copy(grown, content)
			content = grown
		}
	}
}

// upload is the body of a call that streams requests.
type upload struct {
	call   *call
	source stream.Body
	media  string // Content-Type
	values values
	first  *dynamicpb.Message // with the parameters; nil once it was sent
	chunk  []byte             // of raw content
	out    []byte             // out[at:] is not read yet
	at     int
	err    error // what ended it
}

func newUpload(c *call, req *stream.Request, first *dynamicpb.Message) *upload {
	media, _ := req.Header.GetID(stream.ContentType)
	return &upload{call: c, source: req.Body, media: media, first: first, values: values{body: req.Body, max: c.options.maxMessage}}
}

func (u *upload) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for u.at == len(u.out) {
		if u.err != nil {
			return 0, u.err
		}
		u.out, u.at = u.out[:0], 0
		u.err = u.step()
	}
	n := copy(p, u.out[u.at:])
	u.at += n
	return n, nil
}

// step makes the frame of one message.
func (u *upload) step() error {
	content, err := u.content()
	switch {
	case err == io.EOF && u.first != nil && len(u.call.binding.vars) > 0: //nolint:errorlint // the contract of stream.Body
		// No message in the content, but one in the path.
		u.out, err = u.call.frame(u.out, u.first)
		u.first = nil
		return fault(err)
	case err != nil:
		return fault(err)
	}
	m := u.first
	if u.first = nil; m == nil {
		m = dynamicpb.NewMessage(u.call.binding.method.input)
	}
	if err := u.decode(m, content); err != nil {
		return fault(err)
	}
	out, err := u.call.frame(u.out, m)
	if err == nil {
		u.out = out
	}
	return fault(err)
}

// content is that of the next message.
func (u *upload) content() ([]byte, error) {
	if u.call.raw() == nil {
		return u.values.next()
	}
	if u.chunk == nil {
		u.chunk = make([]byte, min(32<<10, u.call.options.maxMessage))
	}
	for {
		n, err := u.source.Read(u.chunk)
		if n > 0 {
			return u.chunk[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (u *upload) decode(m *dynamicpb.Message, content []byte) error {
	if len(content) == 0 {
		return errValuesClose
	}
	head := stream.Request{}
	if u.media != "" {
		head.Header.AddID(stream.ContentType, u.media)
	}
	return u.call.decode(m, content, &head)
}

// fault makes one of an error about the content. A message that is broken in
// the middle of a stream ends the call.
func fault(err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // the contract of stream.Body
		return err
	}
	if f, ok := err.(*stream.Fault); ok { //nolint:errorlint // one inside another error has words around it
		return f
	}
	return &stream.Fault{Kind: stream.RequestMalformed, Cause: fmt.Errorf("transcode: %s", words(err))}
}

func (u *upload) Close() error            { return u.source.Close() }
func (u *upload) Trailer() *stream.Header { return nil }

// Await waits for the source, unless there is something to give already.
func (u *upload) Await() error {
	a, ok := u.source.(stream.Awaiter)
	if ok && u.err == nil && u.at == len(u.out) && u.values.at == len(u.values.buf) && u.values.end == nil {
		return a.Await()
	}
	return nil
}
