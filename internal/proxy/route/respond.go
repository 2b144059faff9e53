package route

import (
	"context"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/stream"
)

type respond struct {
	status      int
	contentType string
	content     []byte // shared by all answers
}

// NewRespond makes an action that answers from the document itself; status 0
// is 200.
func NewRespond(spec config.Respond) stream.Service {
	r := &respond{status: spec.Status, contentType: spec.ContentType, content: []byte(spec.Body)}
	if r.status == 0 {
		r.status = 200
	}
	if r.contentType == "" && spec.Body != "" {
		r.contentType = "text/plain; charset=utf-8"
	}
	return r
}

func (r *respond) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	req.Body.Close()
	resp := &stream.Response{Status: r.status, Body: stream.NoBody, Length: int64(len(r.content))}
	if r.contentType != "" {
		resp.Header.AddID(stream.ContentType, r.contentType)
	}
	if req.Method != "HEAD" && len(r.content) > 0 {
		resp.Body = stream.BytesBody(r.content)
	}
	return resp, nil
}
