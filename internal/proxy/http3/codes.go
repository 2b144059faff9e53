package http3

import (
	"fmt"

	"github.com/quic-go/quic-go"
)

// Error codes of RFC 9114 section 8.1 and RFC 9204 section 8.3.
const (
	codeNoError           = 0x100
	codeProtocolError     = 0x101
	codeInternalError     = 0x102
	codeStreamCreation    = 0x103
	codeClosedCritical    = 0x104
	codeFrameUnexpected   = 0x105
	codeFrameError        = 0x106
	codeExcessiveLoad     = 0x107
	codeIDError           = 0x108
	codeSettingsError     = 0x109
	codeMissingSettings   = 0x10a
	codeRequestRejected   = 0x10b
	codeRequestCancelled  = 0x10c
	codeRequestIncomplete = 0x10d
	codeMessageError      = 0x10e
	codeConnectError      = 0x10f
	codeDecompression     = 0x200
	codeEncoderStream     = 0x201
	codeDecoderStream     = 0x202
)

// Frame types of RFC 9114 section 7.2 and RFC 9218 section 7.2.
const (
	frameData            = 0x0
	frameHeaders         = 0x1
	frameCancelPush      = 0x3
	frameSettings        = 0x4
	framePushPromise     = 0x5
	frameGoAway          = 0x7
	frameMaxPushID       = 0xd
	framePriorityRequest = 0xf0700
	framePriorityPush    = 0xf0701
)

// Types of unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2).
const (
	streamControl = 0x0
	streamPush    = 0x1
	streamEncoder = 0x2
	streamDecoder = 0x3
)

// Settings (RFC 9114 section 7.2.4.1, RFC 9204 section 5, RFC 9220 section 3).
const (
	settingMaxSection     = 0x6
	settingConnectEnabled = 0x8
)

// reservedFrame tells whether t is a type of HTTP/2 that must not come (RFC
// 9114 section 7.2.8).
func reservedFrame(t uint64) bool { return t == 0x2 || t == 0x6 || t == 0x8 || t == 0x9 }

// connError ends the connection.
type connError struct {
	code   quic.ApplicationErrorCode
	reason string // sent to the peer; none of its own bytes
}

func (e *connError) Error() string { return fmt.Sprintf("%s (%#x)", e.reason, uint64(e.code)) }

func fatal(code quic.ApplicationErrorCode, reason string) *connError {
	return &connError{code, reason}
}
