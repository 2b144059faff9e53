package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// Service is a service of Envoy's rate limit protocol that decides.
type Service struct {
	// Cluster serves it, by gRPC (protocol: h2c or h2).
	Cluster string `yaml:"cluster" json:"cluster" required:"true"`
	// Domain of the limits, as the service knows it.
	Domain string `yaml:"domain" json:"domain" required:"true"`
	// Descriptors are what the service is told, each a list of entries.
	Descriptors [][]Entry `yaml:"descriptors" json:"descriptors" required:"true"`
	// Timeout is how long a request waits for the service.
	Timeout config.Duration `yaml:"timeout" json:"timeout"`
	// OnFailure says what becomes of requests while the service does not answer:
	// allow lets them pass, refuse answers 503.
	OnFailure string `yaml:"on_failure" json:"on_failure" required:"true" enum:"allow,refuse"`
}

// Entry of a descriptor: a key with a value that is fixed or taken from the
// request.
type Entry struct {
	// Key of the entry.
	Key string `yaml:"key" json:"key" required:"true"`
	// Value that is fixed.
	Value string `yaml:"value" json:"value,omitempty"`
	// From names a value of the request: client, client/BITS, header:NAME,
	// cookie:NAME, query:NAME or claim:NAME. A descriptor whose value a request does not have
	// is left out, unless there is a default.
	From string `yaml:"from" json:"from,omitempty"`
	// Default is the value of requests that have none.
	Default string `yaml:"default" json:"default,omitempty"`
}

// SetDefaults of a service.
func (s *Service) SetDefaults() { s.Timeout = config.Duration(20 * time.Millisecond) }

func (s *Service) check(report *config.Report) {
	if s.Timeout <= 0 || s.Timeout > config.Duration(10*time.Second) {
		report.Errorf("timeout", "write 20ms", "requests would wait %s for the service; that is more than 10s, or nothing", s.Timeout)
	}
	if len(s.Descriptors) > maxLimits {
		report.Errorf("descriptors", "use fewer", "%d descriptors, more than %d", len(s.Descriptors), maxLimits)
	}
	for i, entries := range s.Descriptors {
		if len(entries) == 0 || len(entries) > requestkey.MaxTuple {
			report.Errorf(fmt.Sprintf("descriptors[%d]", i), "write [{key: tenant, from: \"header:x-tenant\"}]",
				"a descriptor has 1 to %d entries, and this one has %d", requestkey.MaxTuple, len(entries))
		}
		for j, e := range entries {
			at := fmt.Sprintf("descriptors[%d][%d]", i, j)
			if (e.Value == "") == (e.From == "") {
				report.Errorf(at, "write value: TEXT, or from: \"header:NAME\"", "the entry %q needs exactly one of value and from", e.Key)
			} else if e.From != "" {
				if _, err := requestkey.Parse(e.From); err != nil {
					report.Errorf(at+".from", "name a value that requests have", "%v", err)
				}
			}
		}
	}
}

// remote asks the service.
type remote struct {
	next        stream.Service
	target      stream.Target
	domain      string
	descriptors [][]part
	refuse      bool // when the service does not answer
	failures    atomic.Int32
	away        atomic.Int64 // nobody asks until then, on the clock of begun
	begun       time.Time

	allowed, over, failed, skipped *filter.Counter
}

// part is an entry, compiled.
type part struct {
	key, value, byDefault string
	from                  requestkey.Key
}

const method = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"

func newRemote(s *Service, env filter.Env) (*remote, error) {
	target, fault := stream.ParseTarget("http", "POST", method, "rate-limit")
	if fault != nil {
		return nil, fault
	}
	r := &remote{
		next: env.Cluster(s.Cluster, time.Duration(s.Timeout)), target: target, domain: s.Domain,
		refuse: s.OnFailure == onFailureRefuse, begun: time.Now(),
	}
	for _, entries := range s.Descriptors {
		var d []part
		for _, e := range entries {
			p := part{key: e.Key, value: e.Value, byDefault: e.Default}
			if e.From != "" {
				from, err := requestkey.Parse(e.From)
				if err != nil {
					return nil, err
				}
				p.from = from
			}
			d = append(d, p)
		}
		r.descriptors = append(r.descriptors, d)
	}
	result := func(result string) *filter.Counter {
		return env.Counter("weir_rate_limit_service_requests_total",
			"Questions to the rate limit service: allowed, over the limit, failed, or not asked because the last ones failed (away).", "result", result)
	}
	r.allowed, r.over, r.failed, r.skipped = result("allowed"), result("over_limit"), result("error"), result("away")
	return r, nil
}

// describe has the descriptors of a request.
func (r *remote) describe(req *stream.Request) [][]entry {
	list := make([][]entry, 0, len(r.descriptors))
next:
	for _, parts := range r.descriptors {
		entries := make([]entry, len(parts))
		for i, p := range parts {
			value := p.value
			if !p.from.IsZero() {
				found, ok := p.from.Of(req)
				if value = found; !ok {
					if value = p.byDefault; value == "" {
						continue next
					}
				}
			}
			entries[i] = entry{p.key, strings.ToValidUTF8(value, "\uFFFD")}
		}
		list = append(list, entries)
	}
	return list
}

// opinion is what the service says about a request.
type opinion struct {
	refused, unknown bool
	verdict
	response
}

// ask asks about a request. This is where it waits for the service, at most its
// timeout.
func (r *remote) ask(ctx context.Context, req *stream.Request) opinion {
	descriptors := r.describe(req)
	if len(descriptors) == 0 {
		return opinion{}
	}
	if !r.mayAsk() {
		r.skipped.Add(1)
		return r.failure()
	}
	answer, err := r.call(ctx, req, appendRequest(make([]byte, frameHead), r.domain, descriptors))
	if err == nil && answer.code == codeUnknown {
		err = errors.New("rate_limit: the service answers with the code unknown")
	}
	if err != nil {
		if ctx.Err() == nil {
			r.failed.Add(1)
			r.noteFailure()
		}
		return r.failure()
	}
	r.failures.Store(0)
	o := opinion{refused: answer.code == codeOverLimit, response: answer, verdict: tightest(answer.statuses)}
	if o.refused {
		r.over.Add(1)
	} else {
		r.allowed.Add(1)
	}
	return o
}

func (r *remote) failure() opinion {
	return opinion{refused: r.refuse, unknown: true, verdict: verdict{wait: time.Second}}
}

const (
	tooMany = 3 // failures in a row
	pause   = 500 * time.Millisecond
)

// mayAsk is false while the service has just failed several times: its timeout
// is not for each request. When the pause is over, one asks for all.
func (r *remote) mayAsk() bool {
	if r.failures.Load() < tooMany {
		return true
	}
	now, until := int64(time.Since(r.begun)), r.away.Load()
	return now >= until && r.away.CompareAndSwap(until, now+int64(pause))
}

func (r *remote) noteFailure() {
	if r.failures.Add(1) >= tooMany {
		r.away.Store(int64(time.Since(r.begun) + pause))
	}
}

// tightest is the limit that refuses for longest or, without one, that has least
// left.
func tightest(statuses []descriptorStatus) (v verdict) {
	refused := false
	for _, s := range statuses {
		over := s.code == codeOverLimit
		if over && s.reset > v.wait {
			v.wait = s.reset
		}
		if s.limit > 0 && (v.limit == 0 || over && !refused || over == refused && s.remaining < v.left) {
			v.limit, v.left, v.reset, refused = s.limit, s.remaining, s.reset, over
		}
	}
	return v
}

// frameHead is the length of what stands before each gRPC message.
const frameHead = 5

// maxAnswer bounds an answer of the service.
const maxAnswer = 64 << 10

// call is one gRPC call; frame has room for its head.
func (r *remote) call(ctx context.Context, req *stream.Request, frame []byte) (response, error) {
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-frameHead)) //nolint:gosec // bounded by the head of the request
	own := stream.Request{
		Method: "POST", Target: r.target, Proto: stream.HTTP2, Conn: req.Conn, Client: req.Client, ID: req.ID, GRPC: stream.GRPCCall,
		Body: stream.BytesBody(frame), Length: int64(len(frame)),
	}
	own.Header.AddID(stream.ContentType, "application/grpc")
	own.Header.Add("grpc-accept-encoding", "identity")
	resp, err := r.next.Serve(ctx, &own)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return response{}, err
	}
	status, ok := stream.GRPCStatus(resp.Body.Trailer())
	if !ok {
		status, ok = stream.GRPCStatus(&resp.Header)
	}
	switch {
	case !ok || status != 0:
		return response{}, fmt.Errorf("rate_limit: the service answers with HTTP status %d and gRPC status %d", resp.Status, status)
	case len(content) < frameHead || content[0] != 0 || uint64(binary.BigEndian.Uint32(content[1:])) != uint64(len(content)-frameHead):
		return response{}, errWire
	}
	return parseResponse(content[frameHead:])
}
