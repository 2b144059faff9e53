package mirror

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// behind is content with a trailer behind it.
type behind struct {
	io.Reader
	trailer stream.Header
	err     error // in the place of the end
	ended   bool
}

func (m *behind) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err == io.EOF {
		if m.err != nil {
			return n, m.err
		}
		m.ended = true
	}
	return n, err
}

func (m *behind) Close() error {
	m.ended = false // as a codec, which takes the trailer back
	return nil
}

func (m *behind) Trailer() *stream.Header {
	if !m.ended {
		return nil
	}
	return &m.trailer
}

// called answers a call with messages and a status behind them; early is one in
// the header and no messages.
func called(early, late string, err error) func(*stream.Request) (*stream.Response, error) {
	return func(req *stream.Request) (*stream.Response, error) {
		resp := &stream.Response{Status: 200, Length: -1, Header: filtertest.Header("Content-Type: application/grpc")}
		m := &behind{Reader: strings.NewReader("\x00\x00\x00\x00\x01x"), err: err}
		if early != "" {
			resp.Header.Add("grpc-status", early)
			m.Reader = strings.NewReader("")
		}
		if late != "" {
			m.trailer.Add("grpc-status", late)
		}
		resp.Body = m
		return resp, nil
	}
}

// TestCalls: a call of gRPC is copied with all its messages, and compared by its
// status, wherever that stands.
func TestCalls(t *testing.T) {
	broken := &stream.Fault{Kind: stream.UpstreamReset}
	for _, c := range []struct {
		name            string
		primary, shadow func(*stream.Request) (*stream.Response, error)
		want            string
		line            uint8 // grpc status plus one in the line of the copy
	}{
		{"equal", called("", "0", nil), called("", "0", nil), "equal", 1},
		{"the status is behind the messages", called("", "0", nil), called("", "14", nil), "different status grpc-status value OK UNAVAILABLE", 15},
		{"and before them", called("5", "", nil), called("", "0", nil), "different status grpc-status value NOT_FOUND OK", 1},
		{"in both headers", called("5", "", nil), called("5", "", nil), "equal", 6},
		{"none at the shadow", called("", "0", nil), called("", "", nil), "different status grpc-status value OK none", 0},
		{"the shadow is cut", called("", "0", nil), called("", "", broken), "uncomparable shadow_failed", 0},
		{"another status of HTTP", called("", "0", nil), filtertest.Answer(503, "").Answer, "different status  value 200 503", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, "methods: [POST]\ncompare: {json: {}}")
			s.primary.Answer, s.shadow.Answer = c.primary, c.shadow
			req := filtertest.WithBody(filtertest.Request("POST", "http://h/p", "Content-Type: application/grpc", "Grpc-Encoding: gzip", "Grpc-Timeout: 5S"), "two messages")
			req.GRPC, req.Length = stream.GRPCCall, -1
			s.ask(t, req)
			synctest.Wait()
			if got := s.result(t); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
			got := s.shadow.Got[0]
			if fields := strings.Join(filtertest.Lines(&got.Header), "|"); got.Body != "two messages" ||
				fields != "Content-Type: application/grpc|Grpc-Encoding: gzip|Weir-Mirror: 1" {
				t.Errorf("%s: the shadow got %q with %q", c.name, got.Body, fields)
			}
			if lines := s.house.Lines(); len(lines) != 1 || lines[0].Exchange.GRPCStatus != c.line {
				t.Errorf("%s: %d lines", c.name, len(lines))
			}
			s.empty(t)
		})
	}
}

// TestCallGivenUp: a client that leaves before the status is no primary to compare
// with.
func TestCallGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "methods: [POST]\ncompare: {}")
		s.primary.Answer, s.shadow.Answer = called("", "0", nil), called("", "0", nil)
		req := filtertest.Request("POST", "http://h/p")
		req.GRPC = stream.GRPCCall
		resp, err := s.mirror.Serve(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		synctest.Wait()
		if got := s.result(t); got != "uncomparable primary_failed" {
			t.Error(got)
		}
	})
}

// TestLines: a copy has a line of its own, unless the document says no.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		settings string
		answer   func(*stream.Request) (*stream.Response, error)
		lines    int
		copied   string
		status   int
		fault    stream.Kind
	}{
		{"", filtertest.Answer(404, "none").Answer, 1, "answered", 404, 0},
		{"", func(*stream.Request) (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.ConnectRefused}
		}, 1, "failed", 0, stream.ConnectRefused},
		{"log: false", filtertest.Answer(200, "").Answer, 0, "", 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(t, "redact: {query: [token]}\n"+c.settings)
			s.shadow.Answer = c.answer
			s.ask(t, filtertest.Request("GET", "http://h/p?token=S3CRET"))
			synctest.Wait()
			lines := s.house.Lines()
			if len(lines) != c.lines {
				t.Fatalf("%d lines", len(lines))
			}
			if c.lines == 0 {
				return
			}
			x := &lines[0].Exchange
			if x.Copy != c.copied || x.Status != c.status || x.Route.Name != "test" || x.End.IsZero() || strings.Contains(lines[0].Target.Query, "S3CRET") {
				t.Errorf("%+v of %q", x, lines[0].Target.Query)
			}
			if c.fault != 0 && (x.Fault == nil || x.Fault.Kind != c.fault) {
				t.Errorf("fault %v", x.Fault)
			}
		})
	}
}
