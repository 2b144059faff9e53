package filtertest

import (
	"context"
	"io"

	"github.com/weirproxy/weir/stream"
)

// Next is a service behind a filter: it remembers what reached it and answers
// as it is told. It serves one request at a time.
type Next struct {
	// Answer makes the response or the fault; nil: 200 with the body "ok".
	Answer func(req *stream.Request) (*stream.Response, error)
	// Got are the requests that came, in order.
	Got []*Sent
}

// Sent is a request as it reached the next service.
type Sent struct {
	Method  string
	Target  stream.Target
	Header  stream.Header // a copy
	Body    string
	BodyErr error // why the body ended before its end
}

// Serve remembers the request, reads its body and answers.
func (n *Next) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	defer req.Body.Close()
	content, err := io.ReadAll(req.Body)
	n.Got = append(n.Got, &Sent{
		Method: req.Method, Target: req.Target, Header: req.Header.Clone(), Body: string(content), BodyErr: err,
	})
	if n.Answer == nil {
		return Response(200, "ok"), nil
	}
	return n.Answer(req)
}

// Answer makes a Next that always answers the same.
func Answer(status int, body string, fields ...string) *Next {
	return &Next{Answer: func(*stream.Request) (*stream.Response, error) {
		return Response(status, body, fields...), nil
	}}
}

// Fail makes a Next that always fails.
func Fail(kind stream.Kind) *Next {
	return &Next{Answer: func(*stream.Request) (*stream.Response, error) {
		return nil, &stream.Fault{Kind: kind}
	}}
}

// Response makes a response; fields are "Name: value".
func Response(status int, body string, fields ...string) *stream.Response {
	return &stream.Response{
		Status: status, Header: Header(fields...),
		Body: stream.BytesBody([]byte(body)), Length: int64(len(body)),
	}
}
