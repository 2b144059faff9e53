package websocket

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/weirproxy/weir/stream"
)

// tunnel is a Duplex in memory and its far end, the upstream.
type tunnel struct {
	fromUp *io.PipeReader
	toUp   *io.PipeWriter
	say    *io.PipeWriter // of the upstream
	hear   *io.PipeReader
	panics bool
}

func newTunnel() *tunnel {
	d := &tunnel{}
	d.fromUp, d.say = io.Pipe()
	d.hear, d.toUp = io.Pipe()
	return d
}

func (d *tunnel) Read(p []byte) (int, error) { return d.fromUp.Read(p) }
func (d *tunnel) Write(p []byte) (int, error) {
	if d.panics {
		panic("a defect")
	}
	return d.toUp.Write(p)
}
func (d *tunnel) CloseWrite() error       { return d.toUp.Close() }
func (d *tunnel) Trailer() *stream.Header { return nil }
func (d *tunnel) Close() error {
	d.say.CloseWithError(&stream.Fault{Kind: stream.UpstreamClosed})
	return d.toUp.CloseWithError(io.ErrUnexpectedEOF)
}

// socketOf opens a WebSocket through s, whose next stage is answering.
func socketOf(t *testing.T, s *Stage) stream.Duplex {
	t.Helper()
	resp, err := s.Serve(context.Background(), &stream.Request{Upgrade: "websocket", Body: stream.NoBody, Conn: &stream.Conn{}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Body.(stream.Duplex)
}

// answering is a stage that answers every request with a 101 and the next of ds.
func answering(ds ...*tunnel) *Stage {
	return New(stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		d := ds[0]
		ds = ds[1:]
		return &stream.Response{Status: 101, Body: d, Length: -1}, nil
	}), Config{Log: slog.New(slog.DiscardHandler)})
}

// read is everything that a client gets until an error other than io.EOF.
type read struct {
	bytes []byte
	err   error
}

func readAll(d stream.Duplex) <-chan read {
	done := make(chan read, 1)
	go func() {
		var r read
		for {
			if r.err = d.(stream.Awaiter).Await(); r.err != nil {
				break
			}
			var n int
			p := make([]byte, 1000)
			n, r.err = d.Read(p)
			if r.bytes = append(r.bytes, p[:n]...); r.err != nil {
				break
			}
		}
		if r.err == io.EOF {
			r.err = nil
		}
		done <- r
	}()
	return done
}
