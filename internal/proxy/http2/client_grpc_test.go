package http2

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirproxy/weir/stream"
)

// rawCodec passes messages through as bytes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (rawCodec) Name() string { return "proto" }

// newGRPCUpstream is a server of grpc-go that echoes every message and ends
// with a status that the first message may choose.
func newGRPCUpstream(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		ss.SetTrailer(metadata.Pairs("x-trailer", "t"))
		for {
			var m []byte
			if err := ss.RecvMsg(&m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if string(m) == "fail" {
				return status.Error(codes.NotFound, "no")
			}
			if err := ss.SendMsg(&m); err != nil {
				return err
			}
		}
	}))
	var group sync.WaitGroup
	group.Go(func() { s.Serve(ln) })
	t.Cleanup(func() {
		s.Stop()
		group.Wait()
	})
	return ln.Addr().String()
}

func grpcMessage(p string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(p))), p...)
}

// grpcRequest is a call whose message is in memory, as most are.
func grpcRequest(body stream.Body) *stream.Request {
	req := clientRequest("POST", "/svc/Method", body, -1)
	req.GRPC = stream.GRPCCall
	req.Header.Add("Content-Type", "application/grpc")
	return req
}

func TestClientGRPC(t *testing.T) {
	u := newClientSetup(t)
	c := u.dial(t, newGRPCUpstream(t))
	for _, tc := range []struct {
		message, want string
		code          uint8
	}{{"hello", string(grpcMessage("hello")), 0}, {"fail", "", 5}} {
		req := grpcRequest(stream.BytesBody(grpcMessage(tc.message)))
		resp, err := do(t, c, req)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		if req.Exchange.GRPCStatus != tc.code+1 {
			t.Errorf("status %d, want %d", req.Exchange.GRPCStatus, tc.code+1)
		}
		resp.Body.Close()
	}
	// A conversation in which neither side knows the end.
	body, w := newPipeBody()
	req := grpcRequest(body)
	go w.Write(grpcMessage("one"))
	resp, err := do(t, c, req)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8)
	for range 100 {
		if _, err := io.ReadFull(resp.Body, p); err != nil || string(p[5:]) != "one" {
			t.Fatal(p, err)
		}
		w.Write(grpcMessage("one"))
	}
	io.ReadFull(resp.Body, p)
	w.Close()
	if rest := readAll(t, resp); rest != "" || req.Exchange.GRPCStatus != 1 {
		t.Errorf("%q, status %d", rest, req.Exchange.GRPCStatus)
	}
	if v, _ := resp.Body.Trailer().Get("x-trailer"); v != "t" {
		t.Errorf("trailer %v", resp.Body.Trailer().Fields())
	}
	resp.Body.Close()
}

// The server goes away in its two steps while calls are made: none is lost.
func TestClientGRPCStops(t *testing.T) {
	u := newClientSetup(t)
	address := newGRPCUpstream(t)
	for range 3 {
		c := u.dial(t, address)
		resp, err := do(t, c, grpcRequest(stream.BytesBody(grpcMessage("x"))))
		if err != nil {
			t.Fatal(err)
		}
		c.Retire()
		readAll(t, resp)
		resp.Body.Close()
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("still open")
		}
	}
}

// memoryBody is a body in memory that serves again and again.
type memoryBody struct{ b []byte }

func (b *memoryBody) Read([]byte) (int, error) { return 0, io.EOF }
func (b *memoryBody) Close() error             { return nil }
func (b *memoryBody) Trailer() *stream.Header  { return nil }
func (b *memoryBody) Bytes() ([]byte, bool)    { return b.b, true }

// unary makes one call.
func unary(c *Client, req *stream.Request, p []byte) error {
	if !c.Reserve() {
		return errors.New("no place")
	}
	resp, err := c.Serve(context.Background(), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for {
		if _, err := resp.Body.Read(p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// cannedUpstream answers every request with the same frames, without looking
// at more than the frame headers, and allocates nothing.
func cannedUpstream(t testing.TB, u *clientSetup) *Client {
	c, nc := newSilentUpstreamDeaf(t, u)
	answer := func(head, tail []byte) (out []byte, at [3]int) {
		out = rawFrame(frameHeaders, flagEndHeaders, 0, head)
		at[0], at[1] = 5, len(out)+5
		out = append(out, rawFrame(frameData, 0, 0, grpcMessage("hello"))...)
		at[2] = len(out) + 5
		return append(out, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 0, tail)...), at
	}
	// The first answer fills the table, the others refer to it.
	out, at := answer(append([]byte{0x88, 0x5f, 16}, "application/grpc"...), append([]byte{0x40, 11}, "grpc-status\x010"...))
	next, nextAt := answer([]byte{0x88, 0xbf}, []byte{0xbe})
	var group sync.WaitGroup
	group.Go(func() {
		var r frameReader
		r.init(nc)
		defer r.release()
		hello := append(rawFrame(frameSettings, 0, 0, nil), rawFrame(frameWindowUpdate, 0, 0, u32(maxWindow-firstCover))...)
		if _, err := nc.Write(hello); err != nil {
			return
		}
		first := make([]byte, len(preface))
		if _, err := io.ReadFull(nc, first); err != nil {
			return
		}
		for {
			f, ok, bad := r.next()
			switch {
			case bad != nil:
				return
			case !ok:
				if r.fill() != nil {
					return
				}
			case f.has(flagEndStream) && (f.typ == frameData || f.typ == frameHeaders):
				for _, i := range at {
					binary.BigEndian.PutUint32(out[i:], f.id)
				}
				if _, err := nc.Write(out); err != nil {
					return
				}
				out, at = next, nextAt
			}
		}
	})
	t.Cleanup(group.Wait)
	t.Cleanup(func() { nc.Close() })
	return c
}

func TestAllocsClient(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	u := newClientSetup(t)
	c := cannedUpstream(t, u)
	req := grpcRequest(&memoryBody{grpcMessage("hello")})
	p := make([]byte, 100)
	call := func() {
		if err := unary(c, req, p); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		call()
	}
	// The response with its body, which is never another exchange's.
	if n := testing.AllocsPerRun(1000, call); n > 1 {
		t.Errorf("%v allocations for a call, want 1", n)
	}
}

func BenchmarkClient(b *testing.B) {
	bench := func(b *testing.B, c *Client) {
		b.ReportAllocs()
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			req := grpcRequest(&memoryBody{grpcMessage("hello")})
			p := make([]byte, 100)
			for pb.Next() {
				if err := unary(c, req, p); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("Canned", func(b *testing.B) { bench(b, cannedUpstream(b, newClientSetup(b))) })
	b.Run("GRPC", func(b *testing.B) {
		u := newClientSetup(b)
		bench(b, u.dial(b, newGRPCUpstream(b)))
	})
}
