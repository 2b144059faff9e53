package http3

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// TestCostly: a stream whose client takes nothing is reset, and the connection
// goes on.
func TestCostly(t *testing.T) {
	key, err := requestkey.Parse("client")
	if err != nil {
		t.Fatal(err)
	}
	book := account.NewBook(key)
	dog := new(watchdog.Dog)
	pieces := make(chan struct{}, 1000)
	ts := serve(t, func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if req.Method == "POST" {
			return &stream.Response{Status: 200, Length: -1, Body: flood{pieces}}, nil
		}
		return text(200, "ok"), nil
	}, func(cfg *ServerConfig) { cfg.Payer, cfg.Dog = book.Of, dog })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conn, err := quic.DialAddr(ctx, ts.addr.String(), ts.client, &quic.Config{MaxIncomingUniStreams: 10, InitialStreamReceiveWindow: 4096, MaxStreamReceiveWindow: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(codeNoError, "")
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := str.Write(frame(frameHeaders, block(":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", "/"))); err != nil {
		t.Fatal(err)
	}
	<-pieces // it is stuck, or about to be
	n, bytes := 0, int64(0)
	for n == 0 { // it holds what it has once it writes
		n, bytes = dog.Reset(0, 10)
	}
	if n != 1 || bytes != pageSize {
		t.Errorf("%d reset, %d bytes", n, bytes)
	}
	var reset *quic.StreamError
	if _, err := io.Copy(io.Discard, str); !errors.As(err, &reset) || reset.ErrorCode != codeExcessiveLoad {
		t.Errorf("the stream ended with %v", err)
	}
	if status, err := exchangeRaw(t, conn, frame(frameHeaders, get())); status != 200 {
		t.Error("the connection suffers:", status, err)
	}
	if f := ts.exchanges()[0].Fault; f == nil || f.Kind != stream.Overloaded || f.Limit != "overload_reset" {
		t.Errorf("fault %v", f)
	}
	if book.Len() != 1 {
		t.Errorf("%d accounts", book.Len())
	}
}

// flood is a body without an end.
type flood struct{ pieces chan<- struct{} }

func (f flood) Read(p []byte) (int, error) {
	select {
	case f.pieces <- struct{}{}:
	default:
	}
	return len(p), nil
}
func (flood) Close() error            { return nil }
func (flood) Trailer() *stream.Header { return nil }
