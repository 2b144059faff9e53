package http1

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/internal/account"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// TestCostly: what an exchange keeps for a peer that stalls is charged to its
// tenant, and it is reset when the dog says so; one that goes on costs nothing.
func TestCostly(t *testing.T) {
	flood := stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
		return &stream.Response{Status: 200, Body: &endless{}, Length: -1}, nil
	})
	for _, c := range []struct {
		name    string
		service stream.Service
		client  func(nc net.Conn)
		held    int64
	}{
		{"a client that takes nothing", flood, func(nc net.Conn) {
			io.WriteString(nc, get+"X-Tenant: a\r\n\r\n")
			nc.Read(make([]byte, 64<<10))
		}, pageSize},
		{"a client that sends slowly", stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			_, err := io.ReadAll(req.Body)
			f := stream.AsFault(err)
			req.Exchange.Fault = f
			return text(503, ""), nil
		}), func(nc net.Conn) {
			io.WriteString(nc, post+"X-Tenant: a\r\nContent-Length: 100000\r\n\r\nx")
		}, pageSize},
		{"a tunnel into which nobody looks", stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
			near, far := net.Pipe()
			go io.Copy(far, repeat{})
			return &stream.Response{Status: 101, Body: pipeDuplex{near, far}, Length: -1}, nil
		}), func(nc net.Conn) {
			io.WriteString(nc, strings.Replace(upgrade, "\r\n", "\r\nX-Tenant: a\r\n", 1))
			for head := ""; !strings.HasSuffix(head, "\r\n\r\n"); {
				var b [1]byte
				nc.Read(b[:])
				head += string(b[:])
			}
		}, pageSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, err := requestkey.Parse("header:x-tenant")
				if err != nil {
					t.Fatal(err)
				}
				book := account.NewBook(key)
				var dog watchdog.Dog
				done := make(chan stream.Exchange, 1)
				s := NewServer(ServerConfig{
					Limits: testLimits, Service: c.service, Refuse: refuse, Dog: &dog, Phases: walkLimits(stream.PhaseLinger),
					Go: func(f func()) { go f() }, Payer: book.Of, Done: func(req *stream.Request) { done <- req.Exchange },
				})
				near, far := net.Pipe()
				defer far.Close()
				go s.Serve(t.Context(), near, &stream.Conn{})
				c.client(far)
				time.Sleep(10 * time.Second)
				totals := book.Totals(time.Now(), 9)
				if len(totals) != 1 || totals[0].Tenant != "a" || totals[0].Held != c.held || totals[0].Spent < 8*float64(c.held) {
					t.Errorf("%+v", totals)
				}
				if n, bytes := dog.Reset(0, 10); n != 1 || bytes != c.held {
					t.Errorf("%d reset, %d bytes", n, bytes)
				}
				go io.Copy(io.Discard, far)
				if f := (<-done).Fault; f == nil || f.Kind != stream.Overloaded || f.Limit != "overload_reset" {
					t.Errorf("fault %v", f)
				}
			})
		})
	}
}

// repeat is a reader without an end.
type repeat struct{}

func (repeat) Read(p []byte) (int, error) { return len(p), nil }
