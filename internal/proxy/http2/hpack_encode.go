package http2

import (
	"errors"
	"strconv"

	"github.com/weirproxy/weir/stream"
)

// Header blocks that we write use the static table only: no field of one
// exchange is ever kept for the next, so no secret can be guessed through the
// sizes of later blocks (CRIME), encoding needs no state and no search, and
// any goroutine may do it. Fields with secrets are marked never to be indexed
// further on either (RFC 7541 section 7.1.3). Values are not Huffman coded:
// that would take longer than all the rest of a head.

// What must not leave us, whoever put it into a message.
var (
	errWriteField  = errors.New("a header field that is to be written has a name that is no token or a value with a control byte")
	errWriteTarget = errors.New("method, host, path or query that is to be written has a byte that does not belong there")
	errWriteStatus = errors.New("the status that is to be written is no final status")
)

// tableSizeZero says, in front of our first header block, that we use no
// dynamic table. For the author of either half: append it once per connection,
// first in the first block.
const tableSizeZero = 0x20

// ownedField marks the fields that never stand in a stream.Header: the codec
// reads them into facts and writes its own.
var ownedField = [256]bool{
	stream.Connection: true, stream.ContentLength: true, stream.Expect: true, stream.Host: true,
	stream.HTTP2Settings: true, stream.KeepAlive: true, stream.ProxyConnection: true, stream.TE: true,
	stream.Trailer: true, stream.TransferEncoding: true, stream.Upgrade: true,
}

// secretField marks the fields that no hop may index.
var secretField = [256]bool{
	stream.Authorization: true, stream.Cookie: true, stream.ProxyAuthorization: true, stream.SetCookie: true,
}

// wireName is how the name of a well-known field begins on the wire, as a
// literal without indexing or, for a secret, never indexed.
var wireName = func() (t [256]string) {
	for i := 1; i < 256; i++ {
		id := stream.ID(i)
		name, known := lowerName(id)
		if !known {
			break
		}
		t[i] = string(literalName(nil, name, secretField[id]))
	}
	return t
}()

// lowerName is the name of id as HTTP/2 spells it; known is false behind the
// last well-known name.
func lowerName(id stream.ID) (name string, known bool) {
	if id >= stream.NumIDs {
		return "", false
	}
	b := []byte(id.String())
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b), true
}

// literalName appends the type and name of a literal field.
func literalName(dst []byte, name string, never bool) []byte {
	kind := byte(0)
	if never {
		kind = 0x10
	}
	for i := 1; i <= staticSize; i++ {
		if staticTable[i].name == name {
			at := len(dst)
			dst = appendInt(dst, 4, i)
			dst[at] |= kind
			return dst
		}
	}
	return appendText(append(dst, kind), name)
}

// appendInt appends an integer with a prefix of that many bits.
func appendInt(dst []byte, bits uint, n int) []byte {
	limit := 1<<bits - 1
	if n < limit {
		return append(dst, byte(n))
	}
	dst = append(dst, byte(limit))
	for n -= limit; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// appendText appends a string as it is.
func appendText(dst []byte, s string) []byte {
	return append(appendInt(dst, 7, len(s)), s...)
}

// appendIndexed appends entry i of the static table.
func appendIndexed(dst []byte, i int) []byte { return append(dst, 0x80|byte(i)) }

// appendPair appends a field whose name is entry i of the static table.
func appendPair(dst []byte, i int, value string) []byte {
	return appendText(appendInt(dst, 4, i), value)
}

// The entries of the static table that we write by number.
const (
	staticAuthority     = 1
	staticGET           = 2
	staticPOST          = 3
	staticSlash         = 4
	staticHTTP          = 6
	staticHTTPS         = 7
	staticStatus        = 8 // 200; the others below
	staticContentLength = 28
	staticDate          = 33
)

// appendStatus appends :status.
func appendStatus(dst []byte, status int) []byte {
	switch status {
	case 200:
		return appendIndexed(dst, 8)
	case 204:
		return appendIndexed(dst, 9)
	case 206:
		return appendIndexed(dst, 10)
	case 304:
		return appendIndexed(dst, 11)
	case 400:
		return appendIndexed(dst, 12)
	case 404:
		return appendIndexed(dst, 13)
	case 500:
		return appendIndexed(dst, 14)
	}
	dst = append(dst, staticStatus, 3)
	return append(dst, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// appendLength appends content-length.
func appendLength(dst []byte, n int64) []byte {
	dst = appendInt(dst, 4, staticContentLength)
	at := len(dst)
	dst = strconv.AppendInt(append(dst, 0), n, 10)
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// appendFields appends every field but those that the codec owns.
func appendFields(dst []byte, h *stream.Header) ([]byte, error) {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if ownedField[f.ID] {
			continue
		}
		var err error
		if dst, err = appendField(dst, f); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendField appends one field, its name in lower case.
func appendField(dst []byte, f *stream.Field) ([]byte, error) {
	value := f.Value
	if !is(value, valueByte) {
		return dst, errWriteField
	}
	if f.ID != stream.Unknown {
		return appendText(append(dst, wireName[f.ID]...), value), nil
	}
	if !validToken(f.Name) {
		return dst, errWriteField
	}
	dst = append(dst, 0)
	dst = appendInt(dst, 7, len(f.Name))
	for i := 0; i < len(f.Name); i++ {
		c := f.Name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return appendText(dst, value), nil
}

// beginHeaders appends the place of a frame header; endHeaders fills it in.
func beginHeaders(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// endHeaders makes HEADERS, and CONTINUATION where the peer takes no frame as
// large, of the block that begins behind the place at.
func endHeaders(dst []byte, at int, id uint32, flags uint8, maxFrame int) []byte {
	size := len(dst) - at - frameHeaderSize
	if size <= maxFrame {
		appendFrameHeader(dst[at:at], size, frameHeaders, flags|flagEndHeaders, id)
		return dst
	}
	block := append([]byte(nil), dst[at+frameHeaderSize:]...)
	dst = append(appendFrameHeader(dst[:at], maxFrame, frameHeaders, flags, id), block[:maxFrame]...)
	for block = block[maxFrame:]; ; block = block[maxFrame:] {
		if len(block) <= maxFrame {
			return append(appendFrameHeader(dst, len(block), frameContinuation, flagEndHeaders, id), block...)
		}
		dst = append(appendFrameHeader(dst, maxFrame, frameContinuation, 0, id), block[:maxFrame]...)
	}
}
