package ratelimit

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// judge is a rate limit service as a cluster: it speaks the real messages.
type judge struct {
	asked  []*servicev3.RateLimitRequest
	answer func(*servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error)
}

// trailed is a body with a trailer.
type trailed struct {
	stream.Body
	trailer stream.Header
}

func (b *trailed) Trailer() *stream.Header { return &b.trailer }

func (j *judge) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	content, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil || req.Method != "POST" || req.GRPC != stream.GRPCCall || req.Target.RequestURI() != method ||
		len(content) < 5 || int(binary.BigEndian.Uint32(content[1:])) != len(content)-5 {
		return nil, stream.Faultf(stream.Internal, stream.RetryNever, "no call: %v %q", err, content)
	}
	asked := &servicev3.RateLimitRequest{}
	if err := proto.Unmarshal(content[5:], asked); err != nil {
		return nil, stream.Faultf(stream.Internal, stream.RetryNever, "no request: %w", err)
	}
	j.asked = append(j.asked, asked)
	answer, err := j.answer(asked)
	if err != nil {
		return nil, stream.AsFault(err)
	}
	message, err := proto.Marshal(answer)
	if err != nil {
		return nil, stream.AsFault(err)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	return &stream.Response{Status: 200, Length: -1, Body: &trailed{stream.BytesBody(frame), filtertest.Header("grpc-status: 0")}}, nil
}

const asks = `
headers: true
service:
  cluster: judge
  domain: shop
  on_failure: allow
  descriptors:
    - [{key: tenant, from: "header:x-tenant", default: nobody}, {key: kind, value: fixed}]
    - [{key: session, from: "cookie:sid"}]
`

func judged(t *testing.T, j *judge, settings string) (stream.Service, *filtertest.House, *filtertest.Next) {
	next := &filtertest.Next{}
	h := &filtertest.House{Clusters: map[string]stream.Service{"judge": j}}
	return filtertest.BuildIn(t, h, Definition(), settings, next), h, next
}

func TestServiceAllows(t *testing.T) {
	j := &judge{answer: func(*servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error) {
		return &servicev3.RateLimitResponse{
			OverallCode: servicev3.RateLimitResponse_OK,
			Statuses: []*servicev3.RateLimitResponse_DescriptorStatus{
				{Code: servicev3.RateLimitResponse_OK, CurrentLimit: &servicev3.RateLimitResponse_RateLimit{Name: "n", RequestsPerUnit: 100, Unit: servicev3.RateLimitResponse_RateLimit_HOUR}, LimitRemaining: 50, DurationUntilReset: durationpb.New(time.Minute)},
				{Code: servicev3.RateLimitResponse_OK, CurrentLimit: &servicev3.RateLimitResponse_RateLimit{RequestsPerUnit: 10}, LimitRemaining: 3, DurationUntilReset: durationpb.New(1500 * time.Millisecond)},
			},
			ResponseHeadersToAdd: []*corev3.HeaderValue{{Key: "X-Limited-By", Value: "judge"}, {Key: "Content-Length", Value: "0"}, {Key: "X-Bad", Value: "a\r\nb: c"}},
			RequestHeadersToAdd:  []*corev3.HeaderValue{{Key: "X-Tier", RawValue: []byte("gold")}, {Key: "X-Forwarded-For", Value: "1.2.3.4"}},
		}, nil
	}}
	s, h, next := judged(t, j, asks)
	_, resp := send(t, s, "X-Tenant: acme")
	if resp == nil {
		t.Fatal("refused")
	}
	if got := strings.Join(filtertest.Lines(&resp.Header), "|"); got != "RateLimit-Limit: 10|RateLimit-Remaining: 3|RateLimit-Reset: 2|X-Limited-By: judge" {
		t.Errorf("the response has %s", got)
	}
	if got := filtertest.Lines(&next.Got[0].Header); !slices.Equal(got, []string{"X-Tenant: acme", "X-Tier: gold"}) {
		t.Errorf("the upstream gets %q", got)
	}
	want := &servicev3.RateLimitRequest{Domain: "shop", Descriptors: []*commonv3.RateLimitDescriptor{
		{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "tenant", Value: "acme"}, {Key: "kind", Value: "fixed"}}},
	}}
	if !proto.Equal(j.asked[0], want) {
		t.Errorf("asked %v, want %v", j.asked[0], want)
	}
	send(t, s, "Cookie: sid=1")
	if d := j.asked[1].GetDescriptors(); len(d) != 2 || d[0].GetEntries()[0].GetValue() != "nobody" || d[1].GetEntries()[0].GetValue() != "1" {
		t.Errorf("asked %v", j.asked[1])
	}
	if n := h.Counted(`weir_rate_limit_service_requests_total{result="allowed"}`); n != 2 {
		t.Errorf("%d allowed", n)
	}
}

func refusing(*servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error) {
	return &servicev3.RateLimitResponse{
		OverallCode: servicev3.RateLimitResponse_OVER_LIMIT,
		Statuses: []*servicev3.RateLimitResponse_DescriptorStatus{
			{Code: servicev3.RateLimitResponse_OK, CurrentLimit: &servicev3.RateLimitResponse_RateLimit{RequestsPerUnit: 5}, LimitRemaining: 1},
			{Code: servicev3.RateLimitResponse_OVER_LIMIT, CurrentLimit: &servicev3.RateLimitResponse_RateLimit{RequestsPerUnit: 100}, DurationUntilReset: durationpb.New(time.Minute)},
		},
		ResponseHeadersToAdd: []*corev3.HeaderValue{{Key: "X-Limited-By", Value: "judge"}},
	}, nil
}

func TestServiceRefuses(t *testing.T) {
	s, h, next := judged(t, &judge{answer: refusing}, asks)
	fault, _ := send(t, s)
	if fault == nil || fault.Kind != stream.RateLimited || fault.Limit != "rate_limit.service" || fault.RetryAfter != time.Minute || len(next.Got) != 0 {
		t.Fatalf("%+v", fault)
	}
	if got := strings.Join(filtertest.Lines(fault.Header), "|"); got != "RateLimit-Limit: 100|RateLimit-Remaining: 0|RateLimit-Reset: 60|X-Limited-By: judge" {
		t.Errorf("the refusal has %s", got)
	}
	if n := h.Counted(`weir_rate_limit_service_requests_total{result="over_limit"}`); n != 1 {
		t.Errorf("%d over the limit", n)
	}
	s, _, _ = judged(t, &judge{answer: refusing}, asks+"\nmode: shadow")
	if fault, _ := send(t, s); fault != nil {
		t.Errorf("in shadow mode: %v", fault)
	}
}

// TestServiceBesideLimits: what a limit here refuses is not asked about.
func TestServiceBesideLimits(t *testing.T) {
	j := &judge{answer: func(*servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error) {
		return &servicev3.RateLimitResponse{OverallCode: servicev3.RateLimitResponse_OK}, nil
	}}
	s, _, _ := judged(t, j, asks+"\nrate: 2/d")
	if got := allowed(t, s, 5); got != 2 || len(j.asked) != 2 {
		t.Errorf("%d allowed, %d asked about", got, len(j.asked))
	}
}

// TestServiceFails: the word decides, and after some failures nobody waits.
func TestServiceFails(t *testing.T) {
	for word, want := range map[string]int{"allow": 50, "refuse": 0} {
		synctest.Test(t, func(t *testing.T) {
			works := false
			j := &judge{}
			j.answer = func(*servicev3.RateLimitRequest) (*servicev3.RateLimitResponse, error) {
				if works {
					return &servicev3.RateLimitResponse{OverallCode: servicev3.RateLimitResponse_OK}, nil
				}
				time.Sleep(20 * time.Millisecond)
				return nil, &stream.Fault{Kind: stream.UpstreamTimeout}
			}
			s, h, _ := judged(t, j, strings.Replace(asks, "allow", word, 1))
			begun := time.Now()
			if got := allowed(t, s, 50); got != want {
				t.Errorf("%s: %d allowed, want %d", word, got, want)
			}
			if took := time.Since(begun); took != tooMany*20*time.Millisecond {
				t.Errorf("%s: 50 requests waited %v", word, took)
			}
			if word == "refuse" {
				if fault, _ := send(t, s); fault.Kind != stream.Overloaded || fault.RetryAfter != time.Second {
					t.Errorf("%+v", fault)
				}
			}
			works = true
			time.Sleep(pause)
			if got := allowed(t, s, 50); got != 50 {
				t.Errorf("%s: %d allowed once the service is back", word, got)
			}
			if n := h.Counted(`weir_rate_limit_service_requests_total{result="error"}`); n != tooMany {
				t.Errorf("%s: %d failures", word, n)
			}
		})
	}
}

// TestServiceAnswersBadly: what is no answer counts as none.
func TestServiceAnswersBadly(t *testing.T) {
	frame := func(body string) string { return "\x00\x00\x00\x00" + string(rune(len(body))) + body }
	for name, c := range map[string]struct {
		body    string
		trailer []string
	}{
		"no message":       {"", []string{"grpc-status: 0"}},
		"a gRPC error":     {"", []string{"grpc-status: 14"}},
		"no status":        {frame("\x08\x01"), nil},
		"compressed":       {"\x01\x00\x00\x00\x02\x08\x01", []string{"grpc-status: 0"}},
		"cut":              {"\x00\x00\x00\x00\x09\x08\x01", []string{"grpc-status: 0"}},
		"malformed":        {frame("\x12\x7f"), []string{"grpc-status: 0"}},
		"the code unknown": {frame("\x08\x00"), []string{"grpc-status: 0"}},
		"too large":        {frame("\x08\x01") + strings.Repeat("x", maxAnswer), []string{"grpc-status: 0"}},
	} {
		h := &filtertest.House{Clusters: map[string]stream.Service{"judge": stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
			req.Body.Close()
			return &stream.Response{Status: 200, Body: &trailed{stream.BytesBody([]byte(c.body)), filtertest.Header(c.trailer...)}}, nil
		})}}
		s := filtertest.BuildIn(t, h, Definition(), strings.Replace(asks, "allow", "refuse", 1), &filtertest.Next{})
		if fault, _ := send(t, s); fault == nil || fault.Kind != stream.Overloaded {
			t.Errorf("%s: %v", name, fault)
		}
		if n := h.Counted(`weir_rate_limit_service_requests_total{result="error"}`); n != 1 {
			t.Errorf("%s: %d failures", name, n)
		}
	}
}

func TestCheckService(t *testing.T) {
	for settings, want := range map[string]string{
		"{cluster: c, domain: d, descriptors: [[{key: a, value: b}]]}":                                                   "on_failure",
		"{cluster: c, domain: d, on_failure: local, descriptors: [[{key: a, value: b}]]}":                                "not known",
		"{cluster: c, domain: d, on_failure: allow, descriptors: [[]]}":                                                  "1 to 8 entries",
		"{cluster: c, domain: d, on_failure: allow, descriptors: [[{key: a}]]}":                                          "exactly one",
		"{cluster: c, domain: d, on_failure: allow, descriptors: [[{key: a, value: b, from: client}]]}":                  "exactly one",
		"{cluster: c, domain: d, on_failure: allow, descriptors: [[{key: a, from: x}]]}":                                 "not known",
		"{cluster: c, domain: d, on_failure: allow, timeout: 1m, descriptors: [[{key: a, value: b}]]}":                   "would wait",
		"{cluster: c, on_failure: allow, descriptors: [[{key: a, value: b}]]}":                                           "domain",
		"{cluster: c, domain: d, on_failure: allow, descriptors: [" + strings.Repeat("[{key: a, value: b}], ", 9) + "]}": "more than 8",
	} {
		problems := filtertest.Check(t, Definition(), "{service: "+settings+"}")
		if problems.Errors() == 0 || !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: %v, want %q", settings, problems, want)
		}
	}
	decoded, _ := filtertest.Decode(t, Definition(), asks)
	if refs := Definition().References(decoded); len(refs) != 1 || refs[0].Cluster != "judge" || refs[0].At != "service.cluster" {
		t.Errorf("%+v", refs)
	}
}

// TestRequestOnTheWire: what is written by hand is what the generated code reads.
func TestRequestOnTheWire(t *testing.T) {
	for range 200 {
		want := &servicev3.RateLimitRequest{Domain: text()}
		var descriptors [][]entry
		for range rand.IntN(4) {
			var entries []entry
			d := &commonv3.RateLimitDescriptor{}
			for range rand.IntN(4) {
				e := entry{text(), text()}
				entries = append(entries, e)
				d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: e.key, Value: e.value})
			}
			descriptors, want.Descriptors = append(descriptors, entries), append(want.Descriptors, d)
		}
		got := &servicev3.RateLimitRequest{}
		if err := proto.Unmarshal(appendRequest(nil, want.GetDomain(), descriptors), got); err != nil || !proto.Equal(got, want) {
			t.Fatalf("%v, %v, want %v", got, err, want)
		}
	}
}

func text() string { return strings.Repeat("aä", rand.IntN(100)) }

// FuzzResponse: what is read by hand is what the generated code reads, and what
// it refuses is refused. (It takes some things that the generated code does not:
// texts that are not UTF-8, groups.)
func FuzzResponse(f *testing.F) {
	full, _ := refusing(nil)
	seed, err := proto.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{seed, {}, {8, 1}, {0x12, 0x7f}, {0x1a, 0}} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := parseResponse(content)
		want := &servicev3.RateLimitResponse{}
		if proto.Unmarshal(content, want) != nil || err != nil {
			return
		}
		if uint64(uint32(got.code)) != uint64(uint32(want.GetOverallCode())) || len(got.statuses) != len(want.GetStatuses()) || len(got.responseHeaders) != len(want.GetResponseHeadersToAdd()) {
			t.Fatalf("%+v, want %v", got, want)
		}
		for i, s := range want.GetStatuses() {
			if got.statuses[i].remaining != int64(s.GetLimitRemaining()) || got.statuses[i].limit != int64(s.GetCurrentLimit().GetRequestsPerUnit()) {
				t.Fatalf("status %d: %+v, want %v", i, got.statuses[i], s)
			}
		}
	})
}
