package http2

import "encoding/binary"

const (
	settingTableSize       uint16 = 0x1
	settingEnablePush      uint16 = 0x2
	settingMaxStreams      uint16 = 0x3
	settingInitialWindow   uint16 = 0x4
	settingMaxFrame        uint16 = 0x5
	settingMaxHeaderList   uint16 = 0x6
	settingConnectProtocol uint16 = 0x8 // RFC 8441
	settingNoPriorities    uint16 = 0x9 // RFC 9218 section 2.1
)

// settings are those of the peer. For the author of either half: begin with
// firstSettings; apply on the goroutine that reads, with outbox.mu held; then
// outbox.adopt spreads a changed initial window over the streams.
type settings struct {
	maxStreams      uint32
	initialWindow   int64
	maxFrame        int
	maxHeaderList   uint32
	push            bool
	connectProtocol bool
}

var firstSettings = settings{maxStreams: 1<<32 - 1, initialWindow: firstCover, maxFrame: minFrame, maxHeaderList: 1<<32 - 1, push: true}

// apply reads the payload of SETTINGS (RFC 9113 section 6.5.2).
func (s *settings) apply(payload []byte) *failure {
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingEnablePush:
			if value > 1 {
				return broken(codeProtocol, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
			}
			s.push = value == 1
		case settingMaxStreams:
			s.maxStreams = value
		case settingInitialWindow:
			if value > maxWindow {
				return broken(codeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE is larger than a window can be")
			}
			s.initialWindow = int64(value)
		case settingMaxFrame:
			if value < minFrame || value > 1<<24-1 {
				return broken(codeProtocol, "SETTINGS_MAX_FRAME_SIZE is out of range")
			}
			s.maxFrame = int(value)
		case settingMaxHeaderList:
			s.maxHeaderList = value
		case settingConnectProtocol:
			if value > 1 {
				return broken(codeProtocol, "SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1")
			}
			if s.connectProtocol && value == 0 {
				return broken(codeProtocol, "SETTINGS_ENABLE_CONNECT_PROTOCOL is taken back")
			}
			s.connectProtocol = value == 1
		}
	}
	return nil
}

// setting is one that we send.
type setting struct {
	id    uint16
	value uint32
}

func appendSettings(dst []byte, list ...setting) []byte {
	dst = appendFrameHeader(dst, 6*len(list), frameSettings, 0, 0)
	for _, s := range list {
		dst = binary.BigEndian.AppendUint16(dst, s.id)
		dst = binary.BigEndian.AppendUint32(dst, s.value)
	}
	return dst
}

func appendSettingsAck(dst []byte) []byte {
	return appendFrameHeader(dst, 0, frameSettings, flagAck, 0)
}
