package record

import (
	"crypto/tls"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/logline"
	"github.com/weirproxy/weir/internal/redact"
	"github.com/weirproxy/weir/stream"
)

// scratch is the memory in which a line is made.
type scratch struct {
	line  []byte
	value []byte // a value before it is escaped
	clock logline.Clock
}

// maxValue bounds what one value of a peer takes in a line.
const maxValue = 8 << 10

// maxScratch is the largest line whose memory is kept.
const maxScratch = 64 << 10

func (r *Recorder) getScratch() *scratch {
	if sc, ok := r.scratches.Get().(*scratch); ok {
		return sc
	}
	return &scratch{line: make([]byte, 0, 1<<10), value: make([]byte, 0, 256)}
}

func (r *Recorder) putScratch(sc *scratch) {
	if cap(sc.line) <= maxScratch {
		r.scratches.Put(sc)
	}
}

func lower(s string) string { return strings.ToLower(s) }

// encode makes the line of an exchange in sc.line.
func (l *accessLog) encode(sc *scratch, req *stream.Request, t *times) {
	sc.line = sc.line[:0]
	if l.template != nil {
		l.encodeText(sc, req, t)
	} else {
		l.encodeJSON(sc, req, t)
	}
	sc.line = append(sc.line, '\n')
}

// keys are `,"name":` for each field.
var keys = func() (keys [logline.NumFields]string) {
	for f := range logline.NumFields {
		keys[f] = `,"` + f.String() + `":`
	}
	return keys
}()

// The fields that only some exchanges have, as bits.
const (
	grpcFields  = 1<<logline.GRPCService | 1<<logline.GRPCMethod | 1<<logline.GRPCStatus
	faultFields = 1<<logline.Fault | 1<<logline.FaultOrigin | 1<<logline.FaultLimit | 1<<logline.FaultCause
	tlsFields   = 1<<logline.TLSVersion | 1<<logline.ServerName | 1<<logline.Identity
	copyFields  = 1 << logline.Copy
	allFields   = 1<<logline.NumFields - 1
)

// fieldsOf is a bit for each field that an exchange may have, so that most lines
// ask for no value that is not there.
func fieldsOf(req *stream.Request) uint64 {
	there := uint64(allFields)
	if req.GRPC == stream.NotGRPC {
		there &^= grpcFields
	}
	if req.Exchange.Fault == nil {
		there &^= faultFields
	}
	if req.Conn.TLS == nil && req.Conn.Hello == nil {
		there &^= tlsFields
	}
	if req.Exchange.Copy == "" {
		there &^= copyFields
	}
	return there
}

func (l *accessLog) encodeJSON(sc *scratch, req *stream.Request, t *times) {
	dst := append(sc.line, '{')
	for there := fieldsOf(req); there != 0; there &= there - 1 {
		f := logline.Field(bits.TrailingZeros64(there))
		v := l.value(f, sc, req, t)
		if v.kind == absent {
			continue
		}
		key := keys[f]
		if f == logline.Time { // the first, always there
			key = key[1:]
		}
		dst = append(dst, key...)
		switch v.kind {
		case integer, millis, boolean:
			dst = appendBare(dst, v)
		case foreign:
			dst = append(logline.AppendJSON(append(dst, '"'), cut(v.text)), '"')
		case scratched:
			dst = append(logline.AppendJSON(append(dst, '"'), cut(sc.value)), '"')
		default:
			dst = append(appendOwn(append(dst, '"'), v, sc, req), '"')
		}
	}
	sc.line = dst
	if len(l.headers) > 0 {
		l.encodeHeaders(sc, req)
	}
	sc.line = append(sc.line, '}')
}

func (l *accessLog) encodeHeaders(sc *scratch, req *stream.Request) {
	open := false
	for i := range l.headers {
		h := &l.headers[i]
		if !l.headerValue(h, sc, req) {
			continue
		}
		if open {
			sc.line = append(sc.line, ',')
		} else {
			sc.line = append(sc.line, `,"headers":{`...)
			open = true
		}
		sc.line = append(append(sc.line, h.key...), '"')
		sc.line = append(logline.AppendJSON(sc.line, cut(sc.value)), '"')
	}
	if open {
		sc.line = append(sc.line, '}')
	}
}

func (l *accessLog) encodeText(sc *scratch, req *stream.Request, t *times) {
	dst := sc.line
	for i := range l.template {
		part := &l.template[i]
		switch {
		case part.Literal != "":
			dst = append(dst, part.Literal...)
			continue
		case part.Header != "":
			if l.headerValue(&l.inText[i], sc, req) {
				dst = logline.AppendText(dst, cut(sc.value))
			} else {
				dst = append(dst, '-')
			}
			continue
		}
		v := l.value(part.Field, sc, req, t)
		switch v.kind {
		case absent:
			dst = append(dst, '-')
		case integer, millis, boolean:
			dst = appendBare(dst, v)
		case foreign:
			dst = logline.AppendText(dst, cut(v.text))
		case scratched:
			dst = logline.AppendText(dst, cut(sc.value))
		default:
			dst = appendOwn(dst, v, sc, req)
		}
	}
	sc.line = dst
}

// headerValue puts the values of a field, joined as one, into sc.value and
// tells whether there is one.
func (l *accessLog) headerValue(h *header, sc *scratch, req *stream.Request) bool {
	sc.value = sc.value[:0]
	found := false
	id := stream.Lookup(h.name)
	for i := range req.Header.Fields() {
		f := &req.Header.Fields()[i]
		if f.ID != id || id == stream.Unknown && !stream.EqualFold(f.Name, h.name) {
			continue
		}
		if h.hidden {
			sc.value = append(sc.value, redact.Mark...)
			return true
		}
		if found {
			sc.value = append(sc.value, ", "...)
		}
		sc.value = l.policy.AppendText(sc.value, f.Value)
		found = true
	}
	return found
}

// kind is how a value is written.
type kind uint8

const (
	absent    kind = iota
	foreign        // text that may come from a peer: escaped
	scratched      // the same, in scratch.value
	own            // text of ours that needs no escape
	integer
	millis
	boolean // true
	timeOf
	address
	addressPort
)

// value is one value of a line, without an allocation.
type value struct {
	kind kind
	text string
	num  int64
}

func textValue(s string) value {
	if s == "" {
		return value{}
	}
	return value{kind: foreign, text: s}
}

func number(n int64) value           { return value{kind: integer, num: n} }
func duration(d time.Duration) value { return value{kind: millis, num: int64(d)} }

// appendBare appends what stands without quotes in every form of a line.
func appendBare(dst []byte, v value) []byte {
	switch v.kind {
	case integer:
		return strconv.AppendInt(dst, v.num, 10)
	case millis:
		return logline.AppendMillis(dst, time.Duration(v.num))
	}
	return append(dst, "true"...)
}

func appendOwn(dst []byte, v value, sc *scratch, req *stream.Request) []byte {
	switch v.kind {
	case timeOf:
		return sc.clock.Append(dst, req.Exchange.Start)
	case address:
		return appendAddr(dst, req.Client)
	case addressPort:
		remote := req.Conn.Remote
		return netip.AddrPortFrom(remote.Addr().WithZone(""), remote.Port()).AppendTo(dst)
	}
	return append(dst, v.text...)
}

// appendAddr leaves the zone out, which is free text.
func appendAddr(dst []byte, addr netip.Addr) []byte {
	return addr.WithZone("").AppendTo(dst)
}

func cut[S ~string | ~[]byte](s S) S {
	if len(s) > maxValue {
		return s[:maxValue]
	}
	return s
}

// value is the value of a field.
func (l *accessLog) value(f logline.Field, sc *scratch, req *stream.Request, t *times) value {
	x := &req.Exchange
	switch f {
	case logline.Time:
		return value{kind: timeOf}
	case logline.Listener:
		return textValue(req.Conn.Listener)
	case logline.Route:
		return textValue(x.Route.Name)
	case logline.Cluster:
		return textValue(x.Cluster.Name)
	case logline.Endpoint:
		return textValue(x.Endpoint)
	case logline.Client:
		if req.Client.IsValid() {
			return value{kind: address}
		}
	case logline.Peer:
		if req.Conn.Remote.IsValid() {
			return value{kind: addressPort}
		}
	case logline.ID, logline.Method, logline.Scheme, logline.Host, logline.Path, logline.Query, logline.Protocol, logline.UserAgent:
		return l.requestValue(f, sc, req)
	case logline.Status:
		return number(int64(x.Status))
	case logline.GRPCService, logline.GRPCMethod, logline.GRPCStatus:
		if req.GRPC != stream.NotGRPC {
			return grpcValue(f, req)
		}
	case logline.Copy:
		return textValue(x.Copy)
	case logline.BytesIn:
		return number(x.BytesIn)
	case logline.BytesOut:
		return number(x.BytesOut)
	case logline.Duration:
		return duration(t.total)
	case logline.Proxy:
		return duration(t.proxy)
	case logline.Fault, logline.FaultOrigin, logline.FaultLimit, logline.FaultCause:
		if x.Fault != nil {
			return l.faultValue(f, x.Fault, sc)
		}
	case logline.TLSVersion, logline.ServerName, logline.Identity:
		if req.Conn.TLS != nil {
			return tlsValue(f, req.Conn.TLS)
		}
		if hello := req.Conn.Hello; hello != nil && f == logline.ServerName {
			return textValue(hello.ServerName)
		}
	default:
		return upstreamValue(f, x, t)
	}
	return value{}
}

// requestValue is the value of a field that the head of the request has brought.
func (l *accessLog) requestValue(f logline.Field, sc *scratch, req *stream.Request) value {
	switch f {
	case logline.ID:
		return l.hide(l.hideID, req.ID)
	case logline.Method:
		return textValue(req.Method)
	case logline.Scheme:
		return textValue(target(req).Scheme)
	case logline.Host:
		return l.hide(l.hideHost, target(req).Host)
	case logline.Path:
		return textValue(target(req).Path)
	case logline.Query:
		if query := target(req).Query; query != "" {
			sc.value = l.policy.AppendQuery(sc.value[:0], query)
			return value{kind: scratched}
		}
	case logline.Protocol:
		if req.Proto != 0 {
			return value{kind: own, text: req.Proto.String()}
		}
	case logline.UserAgent:
		agent, _ := req.Header.GetID(stream.UserAgent)
		return l.hide(l.hideAgent, agent)
	}
	return value{}
}

func (l *accessLog) hide(hidden bool, s string) value {
	if hidden && s != "" {
		return value{kind: own, text: redact.Mark}
	}
	return textValue(s)
}

// target is what the client asked for, before a rewrite.
func target(req *stream.Request) *stream.Target {
	if req.Exchange.Received.Path != "" {
		return &req.Exchange.Received
	}
	return &req.Target
}

// upstreamValue is the value of a field that is there once an upstream was asked.
func upstreamValue(f logline.Field, x *stream.Exchange, t *times) value {
	switch f {
	case logline.Attempts:
		return number(int64(x.Attempts))
	case logline.RetryRefused:
		return textValue(x.RetryRefused)
	case logline.Reused:
		if x.Reused {
			return value{kind: boolean}
		}
	case logline.UpstreamStatus:
		if x.UpstreamStatus != 0 {
			return number(int64(x.UpstreamStatus))
		}
	case logline.Upstream:
		if !x.UpstreamStart.IsZero() {
			return duration(t.upstream)
		}
	case logline.UpstreamHead:
		if !x.UpstreamHead.IsZero() {
			return duration(t.head)
		}
	}
	return value{}
}

func (l *accessLog) faultValue(f logline.Field, fault *stream.Fault, sc *scratch) value {
	switch f {
	case logline.Fault:
		return value{kind: own, text: fault.Kind.String()}
	case logline.FaultOrigin:
		return value{kind: own, text: fault.Origin().String()}
	case logline.FaultLimit:
		return textValue(fault.Limit)
	case logline.FaultCause:
		if fault.Cause != nil && showsCause(fault.Kind) {
			sc.value = l.policy.AppendText(sc.value[:0], fault.Cause.Error())
			return value{kind: scratched}
		}
	}
	return value{}
}

// showsCause names the faults whose cause is an error of the network and never
// quotes a message, which might hold a secret.
func showsCause(k stream.Kind) bool {
	switch k {
	case stream.NameUnresolved, stream.ConnectRefused, stream.ConnectTimeout, stream.ConnectFailed, stream.TLSFailed, stream.Overloaded:
		return true
	}
	return false
}

func tlsValue(f logline.Field, facts *stream.TLS) value {
	switch f {
	case logline.TLSVersion:
		return value{kind: own, text: tlsVersion(facts.Version)}
	case logline.ServerName:
		return textValue(facts.ServerName)
	case logline.Identity:
		if c := facts.Client; c != nil {
			if c.SPIFFE != "" {
				return textValue(c.SPIFFE)
			}
			return textValue(c.Subject)
		}
	}
	return value{}
}

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return "other"
}
