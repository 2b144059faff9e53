package route

import (
	"context"
	"fmt"
	"strconv"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// redirect answers with another location. It is made of the document and of
// the canonical target, never of a header: what a client can put into
// X-Forwarded-* or a path of "//elsewhere" leads nowhere.
type redirect struct {
	status    int
	scheme    string
	host      string // with host:port of the document, the port stands in port
	port      string // "" for that of the request
	path      pathEdit
	dropQuery bool
}

// NewRedirect makes an action that answers with another location; status 0 is
// 302. As in the Gateway API, a scheme without a port means the port that
// belongs to the scheme; without either, the port of the request stays. An
// error is a defect of the document.
func NewRedirect(spec config.Redirect, match snapshot.Match) (stream.Service, error) {
	path, err := newPathEdit(spec.Prefix, spec.Path, &match.Path)
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	r := &redirect{status: spec.Status, scheme: spec.Scheme, path: path, dropQuery: spec.DropQuery}
	if r.status == 0 {
		r.status = 302
	}
	if spec.Host != "" {
		to, err := authority(spec.Host)
		if err != nil {
			return nil, fmt.Errorf("redirect: %w", err)
		}
		r.host, r.port = to.Host, to.Port
	}
	if spec.Port != 0 {
		r.port = strconv.Itoa(spec.Port)
	}
	return r, nil
}

func (r *redirect) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	req.Body.Close()
	path, ok := r.path.apply(req.Target.Path)
	if !ok {
		return nil, &stream.Fault{Kind: stream.Internal, Cause: fmt.Errorf("redirect: %w", errPathGone)}
	}
	if r.needsHost() && req.Target.Host == "" {
		return nil, stream.Faultf(stream.RequestMalformed, stream.RetryNever, "redirect: the request has no Host to redirect to")
	}
	resp := &stream.Response{Status: r.status, Body: stream.NoBody}
	resp.Header.AddID(stream.Location, r.location(&req.Target, path))
	return resp, nil
}

// needsHost: a scheme or port can only be said together with a host.
func (r *redirect) needsHost() bool { return r.host == "" && (r.scheme != "" || r.port != "") }

func (r *redirect) location(from *stream.Target, path string) string {
	var room [256]byte
	to := r.appendOrigin(room[:0], from)
	if !isPath(path) { // OPTIONS *
		path = "/"
	}
	to = append(to, path...)
	if from.HasQuery && !r.dropQuery {
		to = append(to, '?')
		to = append(to, from.Query...)
	}
	return string(to)
}

// appendOrigin appends scheme, host and port; nothing when no host is known,
// and the location is then relative to the request.
func (r *redirect) appendOrigin(to []byte, from *stream.Target) []byte {
	scheme, host, port := from.Scheme, from.Host, from.Port
	if r.scheme != "" {
		scheme, port = r.scheme, ""
	}
	if r.host != "" {
		host = r.host
	}
	if r.port != "" {
		port = r.port
	}
	if host == "" {
		return to
	}
	to = append(append(to, scheme...), "://"...)
	to = append(to, host...)
	if port != "" && port != wellKnown(scheme) {
		to = append(append(to, ':'), port...)
	}
	return to
}

func wellKnown(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}
