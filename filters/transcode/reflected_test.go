package transcode

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// mirror is an upstream with server reflection, in front of one with the service.
type mirror struct {
	*upstream
	set      *descriptorpb.FileDescriptorSet
	mu       sync.Mutex
	asked    []string                 // paths and names
	v1       bool                     // else only v1alpha is there
	fault    *stream.Fault            // of every call of reflection
	answer   func(name string) []byte // instead of what is true
	blocked  chan struct{}            // a call waits for it
	requests []*stream.Request
}

func newMirror(t *testing.T) *mirror {
	return &mirror{upstream: newUpstream(t), set: librarySet(t, false)}
}

func (m *mirror) Serve(ctx context.Context, req *stream.Request) (*stream.Response, error) {
	if !strings.HasPrefix(req.Target.Path, "/grpc.reflection") {
		return m.upstream.Serve(ctx, req)
	}
	defer req.Body.Close()
	if m.blocked != nil {
		select {
		case <-m.blocked:
		case <-ctx.Done():
			return nil, &stream.Fault{Kind: stream.UpstreamTimeout}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, req.Target.Path[len("/grpc.reflection."):strings.LastIndex(req.Target.Path, "/")])
	m.requests = append(m.requests, req)
	if m.fault != nil {
		return nil, m.fault
	}
	resp := &stream.Response{Status: 200, Length: -1, Header: filtertest.Header("Content-Type: application/grpc")}
	if strings.Contains(req.Target.Path, ".v1.") != m.v1 {
		resp.Header.Add("grpc-status", "12")
		resp.Body = stream.NoBody
		return resp, nil
	}
	end := filtertest.Header("grpc-status: 0")
	resp.Body = &wire{reads: m.answers(req.Body), trailer: &end}
	return resp, nil
}

func (m *mirror) answers(body stream.Body) (written []string) {
	f := frames{body: body, max: 1 << 20}
	for {
		message, err := f.next()
		if err == io.EOF {
			return written
		}
		each(message, func(number protowire.Number, value []byte) {
			m.asked = append(m.asked, string(value))
			answer := m.answerTo(number, string(value))
			frame := append(make([]byte, frameHead), answer...)
			closeFrame(frame, 0)
			written = append(written, string(frame))
		})
	}
}

func message(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

func (m *mirror) answerTo(number protowire.Number, name string) []byte {
	if m.answer != nil {
		return m.answer(name)
	}
	if number == askServices {
		both := append(message(1, message(1, []byte("lib.Library"))), message(1, message(1, []byte("grpc.reflection.v1.ServerReflection")))...)
		return message(answerServices, both)
	}
	for _, file := range m.set.File { // one file at a time: the others are asked for
		if file.GetName() == name || name == "lib.Library" && file.GetName() == "library.proto" {
			content, err := proto.Marshal(file)
			if err != nil {
				panic(err)
			}
			return message(answerFiles, message(1, content))
		}
	}
	return message(answerError, nil)
}

func TestReflection(t *testing.T) {
	for _, v1 := range []bool{true, false} {
		next := newMirror(t)
		next.v1 = v1
		service := filtertest.Build(t, Definition(), "reflection: true", next)
		first := request("GET", "http://h:81/v1/all/a", "", "Authorization: secret", "Cookie: a=b")
		first.Exchange.Route = stream.Label{Name: "r", Handle: 7}
		out := do(t, service, first)
		if out.status != 200 || compact(out.body) != `{"name":"a"}` {
			t.Fatalf("v1 %v: %v, asked %q", v1, out, next.asked)
		}
		calls := len(next.asked)
		if out = do(t, service, request("GET", "http://h/v1/all/b", "")); out.status != 200 || len(next.asked) != calls {
			t.Errorf("v1 %v: %v, asked again: %q", v1, out, next.asked[calls:])
		}
		if i := slices.Index(next.asked, "google/protobuf/any.proto"); i < 0 {
			t.Errorf("v1 %v: asked %q, want the imports too", v1, next.asked)
		}
		sent := next.requests[0]
		if sent.Target.Authority() != "h:81" || sent.Exchange.Route.Handle != 7 || sent.Conn == nil || sent.GRPC != stream.GRPCCall || sent.Header.Count("Authorization")+sent.Header.Count("Cookie") != 0 {
			t.Errorf("v1 %v: asked with %+v", v1, sent)
		}
	}
}

func TestReflectionOfNamedServices(t *testing.T) {
	next := newMirror(t)
	next.v1 = true
	out := do(t, filtertest.Build(t, Definition(), "{reflection: true, services: [lib.Library]}", next), request("GET", "http://h/v1/all/a", ""))
	if out.status != 200 || slices.Contains(next.asked, "*") {
		t.Errorf("%v, asked %q", out, next.asked)
	}
}

// After a failure the upstream has peace for a while, and gRPC passes all the same.
func TestReflectionBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newMirror(t)
		next.v1, next.fault = true, &stream.Fault{Kind: stream.ConnectRefused}
		service := filtertest.Build(t, Definition(), "reflection: true", next)
		get := func() outcome { return do(t, service, request("GET", "http://h/v1/all/a", "")) }
		asked := 0
		for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			out := get()
			if retry, _ := out.header.Get("Retry-After"); out.status != 503 || retry == "" || !strings.Contains(out.body, `"code":14`) {
				t.Errorf("%v, Retry-After %s", out, retry)
			}
			asked++
			time.Sleep(wait - time.Millisecond)
			if get(); len(next.asked) != asked {
				t.Errorf("asked %d times before %v have passed, want %d", len(next.asked), wait, asked)
			}
			time.Sleep(time.Millisecond)
		}
		native := request("POST", "http://h/lib.Library/Plain", "\x00\x00\x00\x00\x00", "Content-Type: application/grpc")
		native.GRPC = stream.GRPCCall
		if out := do(t, service, native); out.status != 200 {
			t.Errorf("a gRPC call: %v", out)
		}
		next.fault = nil
		if out := get(); out.status != 200 {
			t.Errorf("after recovery: %v", out)
		}
	})
}

func TestReflectionWaitsAndRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newMirror(t)
		next.v1, next.blocked = true, make(chan struct{})
		service := filtertest.Build(t, Definition(), "reflection: true", next)
		answers := make(chan outcome, 2)
		for range 2 { // both wait for one question
			go func() { answers <- do(t, service, request("GET", "http://h/v1/all/a", "")) }()
		}
		synctest.Wait()
		start := time.Now()
		if out := <-answers; out.status != 503 || time.Since(start) != waitForFirst {
			t.Errorf("%v after %v", out, time.Since(start))
		}
		<-answers
		go func() { answers <- do(t, service, request("GET", "http://h/v1/all/a", "")) }()
		synctest.Wait()
		close(next.blocked)
		if out := <-answers; out.status != 200 {
			t.Errorf("%v", out)
		}
		calls := len(next.asked)
		time.Sleep(refreshAfter)
		next.fault = &stream.Fault{Kind: stream.ConnectRefused} // what is known stays in use
		if out := do(t, service, request("GET", "http://h/v1/all/a", "")); out.status != 200 {
			t.Errorf("%v", out)
		}
		synctest.Wait()
		next.mu.Lock()
		defer next.mu.Unlock()
		if len(next.asked) != calls+1 {
			t.Errorf("asked %d times, want one more than %d", len(next.asked), calls)
		}
	})
}

// What a hostile upstream describes is refused.
func TestReflectionIsBounded(t *testing.T) {
	file := func(name, dependency string) []byte {
		content, err := proto.Marshal(&descriptorpb.FileDescriptorProto{Name: &name, Dependency: []string{dependency}})
		if err != nil {
			t.Fatal(err)
		}
		return message(answerFiles, message(1, content))
	}
	huge := message(9, make([]byte, maxDescribed-100))
	var many []byte
	for range maxServices + 1 {
		many = append(many, message(1, message(1, []byte("a.B")))...)
	}
	for name, c := range map[string]struct {
		answer func(name string) []byte
		asked  int // at most
	}{
		"imports without end": {func(name string) []byte {
			if name == "*" {
				return message(answerServices, message(1, message(1, []byte("a.B"))))
			}
			return file(name, name+"x")
		}, 100},
		"too large":         {func(string) []byte { return huge }, 3},
		"too many services": {func(string) []byte { return message(answerServices, many) }, 2},
		"no service":        {func(string) []byte { return nil }, 2},
		"an error":          {func(string) []byte { return message(answerError, nil) }, 2},
		"garbage":           {func(string) []byte { return []byte{0xff} }, 2},
		"no descriptor":     {func(string) []byte { return message(answerFiles, message(1, []byte{0xff})) }, 2},
	} {
		next := newMirror(t)
		next.v1, next.answer = true, c.answer
		out := do(t, filtertest.Build(t, Definition(), "reflection: true", next), request("GET", "http://h/v1/all/a", ""))
		if out.status != 503 || len(next.asked) > c.asked {
			t.Errorf("%s: %v, asked %d times", name, out, len(next.asked))
		}
	}
}
