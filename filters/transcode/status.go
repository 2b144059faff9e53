package transcode

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weirproxy/weir/stream"
)

// The codes of google.rpc.Code that this filter answers with itself.
const (
	codeOK              = 0
	codeInvalidArgument = 3
	codeNotFound        = 5
	codeUnimplemented   = 12
	codeUnavailable     = 14
)

// httpStatuses are those of google.rpc.Code, by code.
var httpStatuses = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// status is a google.rpc.Status.
type status struct {
	code    int32
	message string
	details []*anypb.Any
}

func (s *status) http() int {
	if s.code < 0 || int(s.code) >= len(httpStatuses) {
		return 500
	}
	return httpStatuses[s.code]
}

// statusOf reads the status of a call from its trailer or header.
func statusOf(h *stream.Header) (s status, ok bool) {
	code, ok := stream.GRPCStatus(h)
	if !ok {
		return s, false
	}
	s.code = int32(code)
	if text, found := h.Get("grpc-message"); found {
		s.message = unescapeMessage(text)
	}
	if bin, found := h.Get("grpc-status-details-bin"); found && s.code != codeOK {
		s.detail(bin)
	}
	return s, true
}

// detail reads grpc-status-details-bin. What is malformed in it is left out:
// code and message stand elsewhere.
func (s *status) detail(text string) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return
	}
	each(raw, func(number protowire.Number, value []byte) {
		if number != 3 { // repeated google.protobuf.Any details = 3
			return
		}
		detail := &anypb.Any{}
		each(value, func(number protowire.Number, value []byte) {
			switch number {
			case 1:
				detail.TypeUrl = strings.ToValidUTF8(string(value), "?")
			case 2:
				detail.Value = value
			}
		})
		s.details = append(s.details, detail)
	})
}

// each goes over the fields of a message that are messages, texts or bytes;
// false when it is malformed.
func each(message []byte, yield func(protowire.Number, []byte)) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return false
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			yield(number, value)
		}
		message = message[n:]
	}
	return true
}

// unescapeMessage decodes the percent-encoding of grpc-message. What is broken
// in it stands for itself, as the protocol has it.
func unescapeMessage(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return strings.ToValidUTF8(text, "?")
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if c, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return strings.ToValidUTF8(string(out), "?")
}

// appendJSON appends the status as google.rpc.Status is in JSON. Details of
// types that the descriptors do not have keep their type and their bytes.
func (s *status) appendJSON(dst []byte, known *schema) []byte {
	object := struct {
		Code    int32             `json:"code"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}{s.code, s.message, []json.RawMessage{}}
	for _, d := range s.details {
		object.Details = append(object.Details, detailJSON(d, known))
	}
	text, err := json.Marshal(object)
	if err != nil { // a detail that is no JSON after all
		object.Details = []json.RawMessage{}
		text, _ = json.Marshal(object)
	}
	return append(dst, text...)
}

// detailCost bounds what a detail may take (see meter): it came in a header.
const detailCost = 1 << 20

func detailJSON(d *anypb.Any, known *schema) json.RawMessage {
	if known != nil {
		measure := meter{types: known.types, left: detailCost}
		found, err := known.types.FindMessageByURL(d.TypeUrl)
		if err == nil {
			err = measure.message(found.Descriptor(), d.Value, 1)
		}
		if err == nil {
			if text, err := (protojson.MarshalOptions{Resolver: known.types}).Marshal(d); err == nil {
				return text
			}
		}
	}
	text, _ := json.Marshal(struct {
		Type  string `json:"@type"`
		Value []byte `json:"value"`
	}{d.TypeUrl, d.Value})
	return text
}

// errorResponse is the answer to a call that failed. known may be nil.
func errorResponse(known *schema, s status) *stream.Response {
	resp := &stream.Response{}
	s.into(resp, known)
	return resp
}

func (s *status) into(resp *stream.Response, known *schema) {
	content := s.appendJSON(nil, known)
	resp.Status, resp.Body, resp.Length = s.http(), stream.BytesBody(content), int64(len(content))
	resp.Header.SetID(stream.ContentType, jsonType)
}
