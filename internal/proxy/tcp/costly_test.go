package tcp

import (
	"context"
	"errors"
	"testing"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// TestCostly: a relay whose client takes nothing is reset.
func TestCostly(t *testing.T) {
	key, err := requestkey.Parse("client")
	if err != nil {
		t.Fatal(err)
	}
	book := account.NewBook(key)
	var dog *watchdog.Dog
	w := wirings[5] // TLS: what is not copied between sockets has no page
	w.server = func(cfg *ServerConfig, _ context.CancelFunc) { cfg.Payer, dog = book.Of, cfg.Dog }
	r := newRig(t, w)
	_, upstream := r.dial(w)
	full := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // small enough to be copied, so that there is a page
			_, err = upstream.Write(make([]byte, 1000))
		}
		full <- err
	}()
	n, bytes := 0, int64(0)
	for n == 0 { // until the sockets are full
		n, bytes = dog.Reset(0, 10)
	}
	if n != 1 || bytes != pageSize {
		t.Errorf("%d reset, %d bytes", n, bytes)
	}
	ex := r.exchange()
	if ex.Fault == nil || ex.Fault.Kind != stream.Overloaded || ex.Fault.Limit != "overload_reset" {
		t.Errorf("fault %v", ex.Fault)
	}
	if err := <-full; errors.Is(err, context.Canceled) || book.Len() != 1 {
		t.Errorf("%v, %d accounts", err, book.Len())
	}
}
