package http2

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// TestCostly: of a connection, the stream is reset that keeps most for longest,
// whichever way it stalls; the other streams go on.
func TestCostly(t *testing.T) {
	for _, c := range []struct {
		name string
		// stall makes stream 1 hold something.
		stall func(c *rawClient)
		held  int64
	}{
		{"a client that opens no window", func(c *rawClient) {
			c.headers(1, true, head(getHead, "x-tenant", "a", "x-do", "flood")...)
		}, pageSize},
		{"content that nobody reads", func(c *rawClient) {
			c.headers(1, false, head(postHead, "x-tenant", "a", "x-do", "stall")...)
			c.check(c.fr.WriteData(1, false, make([]byte, 16000)))
			c.check(c.fr.WriteData(1, false, make([]byte, 16000)))
		}, 32000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, err := requestkey.Parse("header:x-tenant")
				if err != nil {
					t.Fatal(err)
				}
				book := account.NewBook(key)
				e := &edge{t: t}
				phases := serverPhases
				for i := range phases {
					phases[i] = stream.PhaseLimit{Idle: time.Hour}
				}
				done := make(chan stream.Exchange, 10)
				s := NewServer(ServerConfig{
					Limits: serverLimits, MaxStreams: 10, StreamWindow: 1 << 20, ConnectionWindow: 1 << 20,
					Refuse: refuseText, Dog: &e.dog, Phases: phases, Go: func(f func()) { go f() },
					Payer: book.Of, Done: func(req *stream.Request) { done <- req.Exchange },
					Service: serviceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
						switch what, _ := req.Header.Get("x-do"); what {
						case "flood":
							return &stream.Response{Status: 200, Length: -1, Body: zeros{}}, nil
						case "stall":
							<-ctx.Done()
							return nil, &stream.Fault{Kind: stream.ClientGone}
						}
						return textResponse(200, "ok"), nil
					}),
				})
				nc := servePipe(t, s)
				client := &rawClient{t: t, nc: nc, fr: xhttp2.NewFramer(nc, nc)}
				client.enc = newTestEncoder(&client.block)
				client.fr.ReadMetaHeaders = newTestDecoder()
				client.write([]byte(preface))
				client.check(client.fr.WriteSettings())
				frames := make(chan xhttp2.Frame, 1000)
				go func() {
					defer close(frames)
					for {
						f, err := client.fr.ReadFrame()
						if err != nil {
							return
						}
						if r, ok := f.(*xhttp2.RSTStreamFrame); ok {
							frames <- &xhttp2.RSTStreamFrame{FrameHeader: r.FrameHeader, ErrCode: r.ErrCode}
						} else if h, ok := f.(*xhttp2.MetaHeadersFrame); ok && h.StreamID != 1 {
							frames <- h
						}
					}
				}()
				c.stall(client)
				time.Sleep(10 * time.Second)
				totals := book.Totals(time.Now(), 9)
				if len(totals) != 1 || totals[0].Tenant != "a" || totals[0].Held != c.held || totals[0].Spent < 8*float64(c.held) {
					t.Errorf("%+v", totals)
				}
				if n, bytes := e.dog.Reset(0, 10); n != 1 || bytes != c.held {
					t.Errorf("%d reset, %d bytes", n, bytes)
				}
				if f := (<-done).Fault; f == nil || f.Kind != stream.Overloaded || f.Limit != "overload_reset" || !errors.Is(f, errCostly) {
					t.Errorf("fault %v", f)
				}
				if r, ok := (<-frames).(*xhttp2.RSTStreamFrame); !ok || r.StreamID != 1 || r.ErrCode != xhttp2.ErrCodeEnhanceYourCalm {
					t.Errorf("%+v", r)
				}
				client.headers(3, true, getHead...)
				if h, ok := (<-frames).(*xhttp2.MetaHeadersFrame); !ok || h.StreamID != 3 {
					t.Error("the other streams suffer")
				}
				time.Sleep(time.Second)
				if n, _ := e.dog.Reset(1<<40, 10); n != 0 {
					t.Errorf("%d reset where nothing is held", n)
				}
				nc.Close()
				for range frames {
				}
			})
		})
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
func (zeros) Close() error               { return nil }
func (zeros) Trailer() *stream.Header    { return nil }
