package stream

import (
	"fmt"
	"time"
)

// Origin says whose fault it was.
type Origin uint8

// The origins.
const (
	Local Origin = iota // Weir itself: no route, a limit, a policy
	Downstream
	Upstream
)

var originNames = [...]string{"local", "downstream", "upstream"}

func (o Origin) String() string { return originNames[o] }

// Retry says whether another attempt may be made. The zero value is never.
type Retry uint8

// What is known about the request that failed.
const (
	RetryNever      Retry = iota
	RetryIdempotent       // the upstream may have acted on it: idempotent methods only
	RetryUnsent           // no byte of it reached the upstream: any method
)

// Hangup says how an exchange ends that gets no response at all.
type Hangup uint8

// The ways. Of HTTP/2 and HTTP/3 it is the stream that is reset, never the
// connection: others are on it, too.
const (
	Answered  Hangup = iota // it gets one: the answer stage makes it
	HalfClose               // the client hears nothing but that nothing more comes
	Reset                   // the connection breaks off
)

// Fault is why no response exists (or why a body broke off). It is the only
// error that crosses a package border on the request path; the answer stage
// alone maps it to a status.
type Fault struct {
	Kind  Kind
	Retry Retry
	// Limit is the name of the limit that fired, in the words of the document
	// ("max_header_count"), or "". It is shown to the client.
	Limit string
	// RetryAfter is when the client may try again, if that is known; else 0.
	RetryAfter time.Duration
	// Header has fields for the answer beside those that every answer has:
	// RateLimit-Limit, WWW-Authenticate. May be nil.
	Header *Header
	// Hangup: the codec ends the exchange without a word instead of sending the
	// response that the answer stage makes.
	Hangup Hangup
	// Cause is for the log, never for the client. May be nil.
	Cause error
}

// Origin is whose fault it was.
func (f *Fault) Origin() Origin { return kinds[f.Kind].origin }

// HangsUp tells whether the exchange ends without a response; f may be nil.
func (f *Fault) HangsUp() bool { return f != nil && f.Hangup != Answered }

func (f *Fault) Error() string {
	switch {
	case f.Cause != nil:
		return fmt.Sprintf("%s: %v", f.Kind, f.Cause)
	case f.Limit != "":
		return fmt.Sprintf("%s (%s)", f.Kind, f.Limit)
	}
	return f.Kind.String()
}

func (f *Fault) Unwrap() error { return f.Cause }

// Faultf makes a fault with a cause in words. What the words carry of the
// peer's input is quoted with %q by the caller.
func Faultf(kind Kind, retry Retry, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Retry: retry, Cause: fmt.Errorf(format, args...)}
}

// Costly is the fault of an exchange that was reset when memory ran out, because
// it kept more of it for longer than others.
func Costly(cause error) *Fault {
	return &Fault{Kind: Overloaded, Limit: "overload_reset", Cause: cause}
}

// AsFault is err as a *Fault; an error of another type, which is a defect of
// the stage that returned it, becomes Internal. So does one that wraps a fault:
// it may be that of another exchange, which says nothing about this one.
func AsFault(err error) *Fault {
	if f, ok := err.(*Fault); ok {
		return f
	}
	return &Fault{Kind: Internal, Cause: err}
}

// Kind is the reason word: metric label, log field and Proxy-Status detail.
type Kind uint8

// The kinds. Adding one: a constant here and its line in kinds; the answer
// stage has a test that it maps each of them.
const (
	Internal Kind = iota // a defect of ours: a panic, a broken contract

	// Downstream.
	RequestMalformed
	RequestLineTooLong
	HeadersTooLarge
	TooManyHeaders
	BodyTooLarge
	VersionUnsupported
	MethodUnsupported
	ExpectationUnknown
	UpgradeRefused
	HeadTimeout
	BodyTimeout
	ClientGone
	ClientTooSlow
	Misdirected
	TooEarly           // early data on a route that does not take it
	AbusiveClient      // a connection that costs more than it asks for
	ContentUnsupported // a content coding that is not understood, or content that is not what it says
	ProxyHeaderBad     // a PROXY protocol header is missing, malformed or not allowed

	// Local.
	NoRoute
	NoCluster
	NoEndpoint
	ClusterFull
	RequestTimeout
	Overloaded
	Draining
	Unauthenticated
	Unverifiable // who asks cannot be found out at the moment: keys are missing
	Forbidden
	RateLimited
	LoopDetected
	FaultInjected // on purpose, by the filter fault

	// Upstream.
	NameUnresolved
	ConnectRefused
	ConnectTimeout
	ConnectFailed
	TLSFailed
	UpstreamClosed
	UpstreamReset
	UpstreamTimeout
	UpstreamTooSlow
	ResponseMalformed
	ResponseTooLarge
	ResponseTruncated

	NumKinds
)

var kinds = [NumKinds]struct {
	name   string
	origin Origin
}{
	Internal:           {"internal", Local},
	RequestMalformed:   {"request_malformed", Downstream},
	RequestLineTooLong: {"request_line_too_long", Downstream},
	HeadersTooLarge:    {"headers_too_large", Downstream},
	TooManyHeaders:     {"too_many_headers", Downstream},
	BodyTooLarge:       {"body_too_large", Downstream},
	VersionUnsupported: {"version_unsupported", Downstream},
	MethodUnsupported:  {"method_unsupported", Downstream},
	ExpectationUnknown: {"expectation_unknown", Downstream},
	UpgradeRefused:     {"upgrade_refused", Downstream},
	HeadTimeout:        {"head_timeout", Downstream},
	BodyTimeout:        {"body_timeout", Downstream},
	ClientGone:         {"client_gone", Downstream},
	ClientTooSlow:      {"client_too_slow", Downstream},
	Misdirected:        {"misdirected", Downstream},
	TooEarly:           {"too_early", Downstream},
	AbusiveClient:      {"abusive_client", Downstream},
	ContentUnsupported: {"content_unsupported", Downstream},
	ProxyHeaderBad:     {"proxy_header_bad", Downstream},
	NoRoute:            {"no_route", Local},
	NoCluster:          {"no_cluster", Local},
	NoEndpoint:         {"no_endpoint", Local},
	ClusterFull:        {"cluster_full", Local},
	RequestTimeout:     {"request_timeout", Local},
	Overloaded:         {"overloaded", Local},
	Draining:           {"draining", Local},
	Unauthenticated:    {"unauthenticated", Local},
	Unverifiable:       {"unverifiable", Local},
	Forbidden:          {"forbidden", Local},
	RateLimited:        {"rate_limited", Local},
	LoopDetected:       {"loop_detected", Local},
	FaultInjected:      {"fault_injected", Local},
	NameUnresolved:     {"name_unresolved", Upstream},
	ConnectRefused:     {"connect_refused", Upstream},
	ConnectTimeout:     {"connect_timeout", Upstream},
	ConnectFailed:      {"connect_failed", Upstream},
	TLSFailed:          {"tls_failed", Upstream},
	UpstreamClosed:     {"upstream_closed", Upstream},
	UpstreamReset:      {"upstream_reset", Upstream},
	UpstreamTimeout:    {"upstream_timeout", Upstream},
	UpstreamTooSlow:    {"upstream_too_slow", Upstream},
	ResponseMalformed:  {"response_malformed", Upstream},
	ResponseTooLarge:   {"response_too_large", Upstream},
	ResponseTruncated:  {"response_truncated", Upstream},
}

func (k Kind) String() string { return kinds[k].name }
