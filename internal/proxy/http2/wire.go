package http2

import "encoding/binary"

// For the author of either half: the words of RFC 9113 section 6 and 7. They
// stand here because golang.org/x/net/http2, which has them too, brings
// net/http with it.

type frameType uint8

const (
	frameData           frameType = 0x0
	frameHeaders        frameType = 0x1
	framePriority       frameType = 0x2
	frameReset          frameType = 0x3
	frameSettings       frameType = 0x4
	framePushPromise    frameType = 0x5
	framePing           frameType = 0x6
	frameGoAway         frameType = 0x7
	frameWindowUpdate   frameType = 0x8
	frameContinuation   frameType = 0x9
	framePriorityUpdate frameType = 0x10 // RFC 9218 section 7.1
)

const (
	flagEndStream  uint8 = 0x1
	flagAck        uint8 = 0x1
	flagEndHeaders uint8 = 0x4
	flagPadded     uint8 = 0x8
	flagPriority   uint8 = 0x20
)

type errCode uint32

const (
	codeNo                 errCode = 0x0
	codeProtocol           errCode = 0x1
	codeInternal           errCode = 0x2
	codeFlowControl        errCode = 0x3
	codeSettingsTimeout    errCode = 0x4
	codeStreamClosed       errCode = 0x5
	codeFrameSize          errCode = 0x6
	codeRefusedStream      errCode = 0x7
	codeCancel             errCode = 0x8
	codeCompression        errCode = 0x9
	codeConnect            errCode = 0xa
	codeEnhanceYourCalm    errCode = 0xb
	codeInadequateSecurity errCode = 0xc
	codeHTTP11Required     errCode = 0xd
	numCodes                       = 0xe
)

var codeNames = [numCodes]string{
	"no_error", "protocol_error", "internal_error", "flow_control_error", "settings_timeout", "stream_closed",
	"frame_size_error", "refused_stream", "cancel", "compression_error", "connect_error", "enhance_your_calm",
	"inadequate_security", "http_1_1_required",
}

func (c errCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

const (
	preface         = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderSize = 9
	// minFrame is the least that SETTINGS_MAX_FRAME_SIZE may be. It is what we
	// take: a larger frame would only make the others wait longer.
	minFrame   = 1 << 14
	maxWindow  = 1<<31 - 1
	firstCover = 65535 // windows before any SETTINGS (RFC 9113 section 6.9.2)
	maxStream  = 1<<31 - 1
)

// appendFrameHeader appends the nine bytes before a payload of that size.
func appendFrameHeader(dst []byte, size int, t frameType, flags uint8, id uint32) []byte {
	return append(dst, byte(size>>16), byte(size>>8), byte(size), byte(t), flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendReset(dst []byte, id uint32, code errCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(dst, 4, frameReset, 0, id), uint32(code))
}

func appendPing(dst []byte, flags uint8, data []byte) []byte {
	return append(appendFrameHeader(dst, 8, framePing, flags, 0), data[:8]...)
}

func appendWindowUpdate(dst []byte, id uint32, n int64) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(dst, 4, frameWindowUpdate, 0, id), uint32(n))
}

// appendGoAway appends GOAWAY; debug says why, in words that help whoever runs
// the other end.
func appendGoAway(dst []byte, last uint32, code errCode, debug string) []byte {
	dst = appendFrameHeader(dst, 8+len(debug), frameGoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, debug...)
}
