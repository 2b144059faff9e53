package route

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/weirproxy/weir/internal/canary"
	"github.com/weirproxy/weir/stream"
)

// comparing is a Comparison with a share of its own that notes what it is told.
type comparing struct {
	share  float64
	failed [2]int
	all    [2]int
}

func (c *comparing) Share() float64 { return c.share }

func (c *comparing) Observe(arm canary.Arm, failed bool, _ time.Duration, _ time.Time) {
	c.all[arm]++
	if failed {
		c.failed[arm]++
	}
}

func answering(status int, err error, asked map[string]int, name string) stream.Service {
	return stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		key, _ := req.Header.Get("x-user")
		asked[key+" "+name]++
		if err != nil {
			return nil, err
		}
		return &stream.Response{Status: status, Body: stream.NoBody}, nil
	})
}

func user(i int) *stream.Request {
	req := &stream.Request{Method: "GET", Body: stream.NoBody, Conn: &stream.Conn{}}
	req.Header.Add("X-User", fmt.Sprint("user", i))
	return req
}

// TestCanaryShare: the candidate gets its share, and who was given to it stays
// there while the share grows.
func TestCanaryShare(t *testing.T) {
	for _, key := range []string{"", "header:x-user"} {
		asked := map[string]int{}
		c := &comparing{}
		s, err := NewCanary(answering(200, nil, asked, "old"), Side{Service: answering(200, nil, asked, "new")}, c, key, "r")
		if err != nil {
			t.Fatal(err)
		}
		const users = 4000
		given := map[int]bool{}
		for _, share := range []float64{0, 0.05, 0.25, 1, 0} {
			c.share, c.all = share, [2]int{}
			for i := range users {
				before := c.all[canary.Candidate]
				_, _ = s.Serve(t.Context(), user(i))
				now := c.all[canary.Candidate] > before
				if key != "" && given[i] && !now && share > 0 {
					t.Fatalf("key %q: user %d left the candidate at share %v", key, i, share)
				}
				given[i] = now
			}
			got := float64(c.all[canary.Candidate]) / users
			if got < share-0.03 || got > share+0.03 || share == 0 && got > 0 || share == 1 && got < 1 {
				t.Errorf("key %q: %v of the requests at share %v", key, got, share)
			}
		}
	}
}

// TestCanaryObserves errors of either arm, and nothing that is the client's.
func TestCanaryObserves(t *testing.T) {
	for _, x := range []struct {
		status int
		err    error
		all    int
		failed int
	}{
		{200, nil, 1, 0},
		{404, nil, 1, 0},
		{503, nil, 1, 1},
		{0, &stream.Fault{Kind: stream.UpstreamReset}, 1, 1},
		{0, &stream.Fault{Kind: stream.NoEndpoint}, 1, 1},
		{0, &stream.Fault{Kind: stream.ClientGone}, 0, 0},
		{0, &stream.Fault{Kind: stream.BodyTooLarge}, 0, 0},
	} {
		for arm, share := range []float64{0, 1} {
			c := &comparing{share: share}
			side := answering(x.status, x.err, map[string]int{}, "x")
			s, err := NewCanary(side, Side{Service: side}, c, "", "r")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = s.Serve(t.Context(), user(1))
			if c.all[arm] != x.all || c.failed[arm] != x.failed || c.all[1-arm] != 0 {
				t.Errorf("%d, %v on arm %d: %+v", x.status, x.err, arm, c)
			}
		}
	}
}

// content is a body that is read piece by piece.
type content struct {
	pieces  []string
	err     error // at the end; io.EOF: it is whole
	trailer stream.Header
}

func (c *content) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, c.err
	}
	n := copy(p, c.pieces[0])
	c.pieces = c.pieces[1:]
	return n, nil
}
func (c *content) Close() error            { return nil }
func (c *content) Trailer() *stream.Header { return &c.trailer }

// TestCanaryObservesContent: a response that breaks off is a failure, and so is
// the status of gRPC behind the content of a call; once each.
func TestCanaryObservesContent(t *testing.T) {
	for _, x := range []struct {
		name        string
		grpc        stream.GRPC
		early, late string // grpc-status
		err         error
		read        int // times
		all, failed int
	}{
		{"whole", stream.NotGRPC, "", "", io.EOF, 3, 1, 0},
		{"cut", stream.NotGRPC, "", "", &stream.Fault{Kind: stream.UpstreamReset}, 3, 1, 1},
		{"cut by the client", stream.NotGRPC, "", "", &stream.Fault{Kind: stream.ClientGone}, 3, 1, 0},
		{"read in part", stream.NotGRPC, "", "", io.EOF, 1, 1, 0},
		{"ok", stream.GRPCCall, "", "0", io.EOF, 3, 1, 0},
		{"not found", stream.GRPCCall, "", "5", io.EOF, 3, 1, 0},
		{"unavailable", stream.GRPCCall, "", "14", io.EOF, 3, 1, 1},
		{"at once", stream.GRPCCall, "13", "", io.EOF, 1, 1, 1},
		{"at once, refused", stream.GRPCCall, "7", "", io.EOF, 1, 1, 0},
		{"no status", stream.GRPCCall, "", "", io.EOF, 3, 1, 1},
		{"given up", stream.GRPCCall, "", "", io.EOF, 1, 0, 0},
	} {
		c := &comparing{share: 1}
		s, err := NewCanary(nil, Side{Service: stream.ServiceFunc(func(context.Context, *stream.Request) (*stream.Response, error) {
			b := &content{pieces: []string{"a", "b"}, err: x.err}
			resp := &stream.Response{Status: 200, Body: b, Length: -1}
			if x.early != "" {
				resp.Header.Add("grpc-status", x.early)
			}
			if x.late != "" {
				b.trailer.Add("grpc-status", x.late)
			}
			return resp, nil
		})}, c, "", "r")
		if err != nil {
			t.Fatal(err)
		}
		req := user(1)
		req.GRPC = x.grpc
		resp, err := s.Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if x.late == "" && x.early == "" && x.read > 1 && c.all[canary.Candidate] != 0 {
			t.Errorf("%s: noted before it ended", x.name)
		}
		for range x.read {
			_, _ = resp.Body.Read(make([]byte, 8))
		}
		resp.Body.Close()
		resp.Body.Close()
		if c.all[canary.Candidate] != x.all || c.failed[canary.Candidate] != x.failed {
			t.Errorf("%s: %+v", x.name, c)
		}
	}
}
