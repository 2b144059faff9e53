package http3

import (
	"errors"
	"strconv"

	"github.com/weirproxy/weir/stream"
)

var (
	errWriteField  = errors.New("a field has a name or value that must not be written")
	errWriteTarget = errors.New("the method or target has a byte that must not be written")
	errWriteStatus = errors.New("the status is none of a final response here")
)

// appendInt appends an integer with a prefix of that many bits; first holds the
// bits before the prefix.
func appendInt(dst []byte, first byte, bits uint, n uint64) []byte {
	mask := uint64(1)<<bits - 1
	if n < mask {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(mask))
	for n -= mask; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// appendPrefix appends what stands before every field section: no dynamic table.
func appendPrefix(dst []byte) []byte { return append(dst, 0, 0) }

func appendIndexed(dst []byte, index int) []byte { return appendInt(dst, 0xc0, 6, uint64(index)) }

// appendNamed appends a value with a name of the static table.
func appendNamed(dst []byte, index int, value string) []byte {
	dst = appendInt(dst, 0x50, 4, uint64(index))
	return append(appendInt(dst, 0, 7, uint64(len(value))), value...)
}

// appendLiteral appends a field; the name is written in lower case.
func appendLiteral(dst []byte, name, value string) []byte {
	dst = appendInt(dst, 0x20, 3, uint64(len(name)))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return append(appendInt(dst, 0, 7, uint64(len(value))), value...)
}

// staticNames is where a name stands first in the static table, plus one.
var staticNames = func() (at [256]uint8) {
	for i := len(staticTable) - 1; i >= 0; i-- {
		if id := stream.Lookup(staticTable[i].name); id != stream.Unknown {
			at[id] = uint8(i + 1)
		}
	}
	return at
}()

const (
	staticAuthority     = 0
	staticPath          = 1
	staticContentLength = 4
	staticMethod        = 15 // the first of them: CONNECT
	staticHTTP          = 22
	staticHTTPS         = 23
	staticStatus        = 24
)

// framingField marks fields that never stand in a message of HTTP/3, or that the
// codec writes itself.
var framingField = [256]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.Host: true,
	stream.HTTP2Settings: true, stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true,
	stream.Trailer: true, stream.TransferEncoding: true, stream.Upgrade: true,
}

// appendFields appends the fields of h, each checked once more.
func appendFields(dst []byte, h *stream.Header) ([]byte, error) {
	for i, fields := 0, h.Fields(); i < len(fields); i++ {
		f := &fields[i]
		if framingField[f.ID] {
			continue
		}
		if !validToken(f.Name) || !validValue(f.Value) {
			return dst, errWriteField
		}
		if at := staticNames[f.ID]; at != 0 {
			dst = appendNamed(dst, int(at-1), f.Value)
		} else {
			dst = appendLiteral(dst, f.Name, f.Value)
		}
	}
	return dst, nil
}

func appendLength(dst []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	dst = appendInt(dst, 0x50, 4, staticContentLength)
	return append(appendInt(dst, 0, 7, uint64(len(text))), text...)
}

// appendStatus appends :status.
func appendStatus(dst []byte, status int) []byte {
	switch status {
	case 200:
		return appendIndexed(dst, 25)
	case 304:
		return appendIndexed(dst, 26)
	case 404:
		return appendIndexed(dst, 27)
	case 503:
		return appendIndexed(dst, 28)
	case 204:
		return appendIndexed(dst, 64)
	}
	dst = appendInt(dst, 0x50, 4, staticStatus)
	dst = append(dst, 3)
	return append(dst, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// appendMethod appends :method.
func appendMethod(dst []byte, method string) []byte {
	for i := staticMethod; i < staticHTTP; i++ {
		if staticTable[i].value == method {
			return appendIndexed(dst, i)
		}
	}
	return appendNamed(dst, staticMethod, method)
}
