package ratelimit

import (
	"errors"
	"time"

	"github.com/weirproxy/weir/internal/protofields"
)

// The two messages of envoy.service.ratelimit.v3 that are needed, by hand: the
// generated code would bring 30 MB of Envoy's API into every sidecar. Tests
// hold it to the generated types.

// entry of a descriptor.
type entry struct{ key, value string }

// appendRequest appends a RateLimitRequest: domain = 1, descriptors = 2.
func appendRequest(dst []byte, domain string, descriptors [][]entry) []byte {
	dst = protofields.AppendBytes(dst, 1, domain)
	for _, entries := range descriptors {
		var d []byte // a RateLimitDescriptor: entries = 1
		for _, e := range entries {
			d = protofields.AppendBytes(d, 1, protofields.AppendBytes(protofields.AppendBytes(nil, 1, e.key), 2, e.value))
		}
		dst = protofields.AppendBytes(dst, 2, d)
	}
	return dst
}

// The codes of RateLimitResponse.
const (
	codeUnknown   = 0
	codeOK        = 1
	codeOverLimit = 2
)

// response is what is read of a RateLimitResponse.
type response struct {
	code            uint64 // overall_code = 1
	statuses        []descriptorStatus
	responseHeaders []entry // response_headers_to_add = 3
	requestHeaders  []entry // request_headers_to_add = 4
}

// descriptorStatus is the answer about one descriptor.
type descriptorStatus struct {
	code      uint64        // 1
	limit     int64         // current_limit = 2, requests_per_unit = 1; 0: none
	remaining int64         // limit_remaining = 3
	reset     time.Duration // duration_until_reset = 4
}

// maxParts bounds the lists in a response.
const maxParts = 100

var errWire = errors.New("rate_limit: the answer of the service is malformed")

func parseResponse(content []byte) (r response, err error) {
	err = fields(content, func(field, number uint64, value []byte) error {
		if len(r.statuses)+len(r.responseHeaders)+len(r.requestHeaders) > maxParts {
			return errWire
		}
		switch field {
		case 1:
			r.code = number
		case 2 | sub:
			s, err := parseStatus(value)
			r.statuses = append(r.statuses, s)
			return err
		case 3 | sub:
			e, err := parseHeader(value)
			r.responseHeaders = append(r.responseHeaders, e)
			return err
		case 4 | sub:
			e, err := parseHeader(value)
			r.requestHeaders = append(r.requestHeaders, e)
			return err
		}
		return nil
	})
	return r, err
}

func parseStatus(content []byte) (s descriptorStatus, err error) {
	err = fields(content, func(field, number uint64, value []byte) error {
		switch field {
		case 1:
			s.code = number
		case 2 | sub:
			return fields(value, func(field, number uint64, _ []byte) error {
				if field == 1 {
					s.limit = int64(uint32(number)) //nolint:gosec // a uint32 in the protocol
				}
				return nil
			})
		case 3:
			s.remaining = int64(uint32(number)) //nolint:gosec // a uint32 in the protocol
		case 4 | sub:
			d, err := parseDuration(value)
			s.reset = d
			return err
		}
		return nil
	})
	return s, err
}

// longestReset is what a duration of the service is cut to.
const longestReset = 366 * 24 * time.Hour

// parseDuration reads a google.protobuf.Duration: seconds = 1, nanos = 2.
func parseDuration(content []byte) (d time.Duration, err error) {
	var seconds, nanos int64
	err = fields(content, func(field, number uint64, _ []byte) error {
		switch field {
		case 1:
			seconds = int64(number) //nolint:gosec // two's complement
		case 2:
			nanos = int64(number) //nolint:gosec // two's complement
		}
		return nil
	})
	seconds = min(max(seconds, 0), int64(longestReset/time.Second))
	nanos = min(max(nanos, 0), int64(time.Second)-1)
	return time.Duration(seconds)*time.Second + time.Duration(nanos), err
}

// parseHeader reads a HeaderValue: key = 1, value = 2, raw_value = 3.
func parseHeader(content []byte) (e entry, err error) {
	err = fields(content, func(field, _ uint64, value []byte) error {
		switch field {
		case 1 | sub:
			e.key = string(value)
		case 2 | sub, 3 | sub:
			if len(value) > 0 {
				e.value = string(value)
			}
		}
		return nil
	})
	return e, err
}

// sub marks a field whose content is bytes: text or a message. A field that comes
// with another type than it has is unknown, as in the generated code.
const sub = 1 << 32

// fields calls visit for each field of a message, with its number or its bytes.
func fields(content []byte, visit func(field, number uint64, value []byte) error) error {
	err := protofields.Each(content, func(f protofields.Field) error {
		switch f.Kind {
		case protofields.Varint:
			return visit(f.Number, f.Value, nil)
		case protofields.Bytes:
			return visit(f.Number|sub, 0, f.Content)
		}
		return nil
	})
	if errors.Is(err, protofields.ErrMalformed) {
		return errWire
	}
	return err
}
