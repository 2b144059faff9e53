package route

import (
	"context"
	"fmt"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

type rewrite struct {
	next stream.Service
	path pathEdit
	host bool
	to   stream.Target // Host and Port, with host
}

// NewRewrite makes an action that replaces parts of the target and calls next.
// An error is a defect of the document.
func NewRewrite(next stream.Service, spec config.Rewrite, match snapshot.Match) (stream.Service, error) {
	path, err := newPathEdit(spec.Prefix, spec.Path, &match.Path)
	if err != nil {
		return nil, fmt.Errorf("rewrite: %w", err)
	}
	r := &rewrite{next: next, path: path, host: spec.Host != ""}
	if r.host {
		if r.to, err = authority(spec.Host); err != nil {
			return nil, fmt.Errorf("rewrite: %w", err)
		}
	}
	return r, nil
}

// authority reads host[:port] as the edge reads a Host field.
func authority(text string) (stream.Target, error) {
	target, fault := stream.ParseTarget("http", "GET", "/", text)
	if fault != nil {
		return stream.Target{}, fmt.Errorf("host %q: %w", text, fault.Cause)
	}
	return target, nil
}

func (r *rewrite) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	target := req.Target
	path, ok := r.path.apply(target.Path)
	if !ok {
		req.Body.Close()
		return nil, &stream.Fault{Kind: stream.Internal, Cause: fmt.Errorf("rewrite: %w", errPathGone)}
	}
	target.Path = path
	if r.host {
		target.Host, target.Port = r.to.Host, r.to.Port
	}
	if req.Exchange.Received.Path == "" { // the first rewrite of this request
		req.Exchange.Received = req.Target
	}
	req.Target = target
	return r.next.Serve(ctx, req)
}
