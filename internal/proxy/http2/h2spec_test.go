package http2

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"

	"github.com/weirproxy/weir/stream"
)

// TestH2Spec runs the conformance suite, strict cases included.
func TestH2Spec(t *testing.T) {
	e := newEdge(t, serviceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		return textResponse(200, "hello"), nil
	}), func(cfg *ServerConfig) { cfg.MaxAbuse = 1 << 20 })
	host, port, _ := net.SplitHostPort(e.ln.Addr().String())
	n, _ := strconv.Atoi(port)
	// The suite prints to standard output.
	out := os.Stdout
	if !testing.Verbose() {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		os.Stdout = null
		defer func() { os.Stdout = out }()
	}
	ok, err := h2spec.Run(&config.Config{
		Host: host, Port: n, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Error("h2spec has failures; run with -v to see them")
	}
}
