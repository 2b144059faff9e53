package loadstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weirproxy/weir/internal/backoff"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/grpcstatus"
	"github.com/weirproxy/weir/internal/loadreport"
	"github.com/weirproxy/weir/stream"
)

// again is how long to wait for the next stream: longer each time, until one has
// lasted for an interval.
var again = backoff.Exponential{Base: time.Second, Max: 2 * time.Minute}

const (
	// jitter is the share of that wait that is up to chance.
	jitter = 0.2
	// turn is how long a stream that is being opened keeps others from it.
	turn = 2 * time.Second
	// unimplementedWait is the wait for an endpoint that has no such service: the
	// next version of it may.
	unimplementedWait = 10 * time.Minute
)

// errUnimplemented is an endpoint that does not know what it is asked for.
var errUnimplemented = errors.New("the endpoint does not implement xds.service.orca.v3.OpenRcaService (UNIMPLEMENTED): register it there, or remove load_stream")

// watch keeps the stream of one endpoint until ctx ends.
func (w *Watcher) watch(ctx context.Context, e *endpoint.Endpoint) {
	defer w.forget(e)
	failures := 0
	for {
		lasted, err := w.follow(ctx, e)
		if ctx.Err() != nil {
			return
		}
		w.Stats.Failed.Add(1)
		if w.become(e, err.Error()) {
			w.cfg.Log.Warn("the load reports of an endpoint have ended", "endpoint", e.Address, "reason", err)
		}
		if failures++; lasted >= w.cfg.Interval {
			failures = 1
		}
		wait := again.Bound(failures)
		if errors.Is(err, errUnimplemented) {
			wait = unimplementedWait
		}
		timer := time.NewTimer(backoff.Around(wait, jitter, rand.Uint64()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// follow opens one stream and reads it to its end; lasted is the time between, 0
// when it could not be opened. It is the recover boundary of its goroutine.
func (w *Watcher) follow(ctx context.Context, e *endpoint.Endpoint) (lasted time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			w.Stats.Panics.Add(1)
			err = fmt.Errorf("reading the stream panicked: %v", r)
		}
	}()
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := w.openInTurn(ctx, e)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if err := checkHead(resp); err != nil {
		return 0, err
	}
	opened := time.Now()
	silent := time.AfterFunc(w.cfg.Silence, cancel)
	defer silent.Stop()
	err = w.read(e, resp.Body, silent)
	lasted = time.Since(opened)
	if ctx.Err() != nil && outer.Err() == nil {
		err = fmt.Errorf("no report within %v", w.cfg.Silence)
	}
	if errors.Is(err, errNotTaken) {
		w.Stats.Bad.Add(1)
	}
	return lasted, err
}

// openInTurn opens a stream, not with too many others at once: a slow one lets the
// next begin after a while.
func (w *Watcher) openInTurn(ctx context.Context, e *endpoint.Endpoint) (*stream.Response, error) {
	select {
	case w.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := sync.OnceFunc(func() { <-w.opening })
	defer done()
	defer time.AfterFunc(turn, done).Stop()
	return w.open(ctx, e)
}

// checkHead tells whether a stream begins.
func checkHead(resp *stream.Response) error {
	if resp.Status != 200 {
		return fmt.Errorf("HTTP status %d", resp.Status)
	}
	const grpc = "application/grpc"
	contentType, _ := resp.Header.GetID(stream.ContentType)
	if len(contentType) < len(grpc) || !stream.EqualFold(contentType[:len(grpc)], grpc) {
		return errors.New("the endpoint does not speak gRPC: its answer is no application/grpc")
	}
	if code, ok := stream.GRPCStatus(&resp.Header); ok {
		return ended(code)
	}
	return nil
}

// ended is the end of a stream by its status.
func ended(code uint8) error {
	if code == grpcstatus.Unimplemented {
		return errUnimplemented
	}
	return fmt.Errorf("the endpoint ended the stream: gRPC status %s", grpcstatus.Name(code))
}

// read takes reports in until the stream ends; silent is what ends it when they do
// not come.
func (w *Watcher) read(e *endpoint.Endpoint, body stream.Body, silent *time.Timer) error {
	reports, pace := 0, newPace(w.cfg.Interval, time.Now())
	messages := reader{from: body}
	defer func() {
		if reports > 0 {
			w.Stats.Open.Add(-1)
		}
	}()
	for {
		report, err := w.next(&messages, &pace)
		if err == io.EOF {
			err = endOf(body)
		}
		if err != nil {
			return err
		}
		silent.Reset(w.cfg.Silence)
		if reports++; reports == 1 {
			w.Stats.Open.Add(1)
			w.Stats.Opened.Add(1)
			w.become(e, "")
			w.cfg.Log.Info("an endpoint reports its load", "endpoint", e.Address)
		}
		w.Stats.Reports.Add(1)
		if weight := report.Weight(); weight > 0 {
			e.Reported(weight, time.Now())
		}
	}
}

// next is the next report, unless it is none that is taken.
func (w *Watcher) next(messages *reader, pace *pace) (report loadreport.Report, err error) {
	message, err := messages.next()
	switch {
	case err == nil && !pace.allows(time.Now()):
		err = errTooMany
	case err == nil:
		if report, err = loadreport.Decode(message); err != nil {
			err = refusal(err.Error())
		}
	}
	return report, err
}

// endOf is why a stream ended in order.
func endOf(body stream.Body) error {
	if code, ok := stream.GRPCStatus(body.Trailer()); ok {
		return ended(code)
	}
	return errors.New("the stream ended without a gRPC status")
}
