package transcode

import (
	"encoding/json"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weirproxy/weir/stream"
)

const jsonType = "application/json"

// respond makes the answer of the call one for the client. The error is a fault;
// the response of the upstream is closed then.
func (c *call) respond(resp *stream.Response) (*stream.Response, error) {
	if contentType, _ := resp.Header.GetID(stream.ContentType); !isGRPC(contentType) {
		return foreign(resp)
	}
	early, failed := statusOf(&resp.Header) // Trailers-Only
	strip(&resp.Header)
	if failed && early.code != codeOK {
		return c.failed(resp, early), nil
	}
	if c.binding.method.serverStreaming {
		return c.download(resp)
	}
	out, err := c.unary(resp)
	if err != nil {
		resp.Body.Close()
		return nil, stream.AsFault(err)
	}
	return out, nil
}

func isGRPC(contentType string) bool {
	const prefix = "application/grpc"
	if len(contentType) < len(prefix) || !stream.EqualFold(contentType[:len(prefix)], prefix) {
		return false
	}
	rest := contentType[len(prefix):]
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// foreign is an answer that no gRPC server made: that of another filter, or of
// something in between, whose words are passed on.
func foreign(resp *stream.Response) (*stream.Response, error) {
	if resp.Status != 200 {
		return resp, nil
	}
	contentType, _ := resp.Header.GetID(stream.ContentType)
	resp.Body.Close()
	return nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: the upstream answers a gRPC call with %.80q", contentType)
}

// strip takes out what is gRPC's own. Metadata of the server stays.
func strip(h *stream.Header) {
	h.DelFunc(func(f *stream.Field) bool {
		const prefix = "grpc-"
		switch f.ID {
		case stream.ContentEncoding:
			return true
		case stream.Unknown:
			return len(f.Name) > len(prefix) && stream.EqualFold(f.Name[:len(prefix)], prefix)
		}
		return false
	})
}

// failed answers with a status instead of a message.
func (c *call) failed(resp *stream.Response, s status) *stream.Response {
	resp.Body.Close()
	s.into(resp, c.schema)
	return resp
}

// unary reads the one message of a call.
func (c *call) unary(resp *stream.Response) (*stream.Response, error) {
	f := frames{body: resp.Body, max: c.options.maxMessage}
	message, err := f.next()
	if err == io.EOF { //nolint:errorlint // the contract of stream.Body
		s, err := ending(resp.Body)
		if err != nil {
			return nil, err
		}
		if s.code == codeOK {
			return nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: the call succeeded without a message")
		}
		return c.failed(resp, s), nil
	}
	if err != nil {
		return nil, err
	}
	contentType, content, err := c.render(nil, message)
	if err != nil {
		return nil, err
	}
	if _, err := f.next(); err == nil {
		return nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: the call was answered with a second message")
	} else if err != io.EOF { //nolint:errorlint // the contract of stream.Body
		return nil, err
	}
	s, err := ending(resp.Body)
	if err != nil {
		return nil, err
	}
	if s.code != codeOK {
		return c.failed(resp, s), nil
	}
	resp.Body.Close()
	resp.Body, resp.Length = stream.BytesBody(content), int64(len(content))
	resp.Header.SetID(stream.ContentType, contentType)
	return resp, nil
}

// ending is the status in the trailer of a body that was read to its end.
func ending(body stream.Body) (status, error) {
	s, ok := statusOf(body.Trailer())
	if !ok {
		return s, stream.Faultf(stream.ResponseTruncated, stream.RetryNever, "transcode: the response ends without a grpc-status")
	}
	return s, nil
}

// render appends a message as the client gets it.
func (c *call) render(dst, message []byte) (contentType string, out []byte, err error) {
	m := dynamicpb.NewMessage(c.binding.method.output)
	measure := meter{types: c.schema.types, left: c.options.cost()}
	if err := measure.message(m.Descriptor(), message, 1); err == errCost { //nolint:errorlint // set by meter
		return "", nil, &stream.Fault{Kind: stream.ResponseTooLarge, Limit: "transcode.max_message", Cause: err}
	} else if err != nil {
		return "", nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: %s: %w", m.Descriptor().FullName(), err)
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxDepth, Resolver: c.schema.types}).Unmarshal(message, m); err != nil {
		return "", nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: the message is no %s: %w", m.Descriptor().FullName(), err)
	}
	if body := c.rawResponse(m); body != nil {
		contentType, content := httpBody(body)
		if !isHeaderValue(contentType) {
			return "", nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: the content type %.80q cannot be sent", contentType)
		}
		return contentType, append(dst, content...), nil
	}
	options := protojson.MarshalOptions{
		EmitUnpopulated: c.options.emitUnpopulated, UseProtoNames: c.options.useProtoNames,
		Resolver: c.schema.types,
	}
	out, err = c.appendMessage(dst, m, options)
	if err != nil {
		return "", nil, stream.Faultf(stream.ResponseMalformed, stream.RetryNever, "transcode: %s cannot be written as JSON: %w", m.Descriptor().FullName(), err)
	}
	if len(out)-len(dst) > maxGrowth*c.options.maxMessage {
		return "", nil, &stream.Fault{Kind: stream.ResponseTooLarge, Limit: "transcode.max_message"}
	}
	return jsonType, out, nil
}

// maxGrowth is how many times larger than max_message JSON may get: a list of
// small numbers or enums grows more than anything that is meant to be read.
const maxGrowth = 8

// appendMessage writes the message, or the field of it that response_body names.
func (c *call) appendMessage(dst []byte, m *dynamicpb.Message, o protojson.MarshalOptions) ([]byte, error) {
	f := c.binding.responseBody
	if f == nil {
		return o.MarshalAppend(dst, m)
	}
	if !m.Has(f) && !f.HasPresence() {
		o.EmitUnpopulated = true // a value by itself has to be something
	}
	one := dynamicpb.NewMessage(m.Descriptor())
	if m.Has(f) {
		one.Set(f, m.Get(f))
	}
	text, err := o.Marshal(one)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	name := f.JSONName()
	if o.UseProtoNames {
		name = f.TextName()
	}
	value, found := fields[name]
	if !found {
		value = json.RawMessage("null")
	}
	return append(dst, value...), nil
}

// rawResponse is the message that is content by itself, or nil.
func (c *call) rawResponse(m protoreflect.Message) protoreflect.Message {
	if f := c.binding.responseBody; f != nil {
		if f.Message() == nil || f.IsList() || f.IsMap() {
			return nil
		}
		m = m.Get(f).Message()
	}
	if !isHTTPBody(m.Descriptor()) {
		return nil
	}
	return m
}

// isHeaderValue: the upstream chose it, and it goes into a header.
func isHeaderValue(s string) bool {
	return len(s) <= 1<<10 && s == strings.TrimSpace(s) &&
		strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
