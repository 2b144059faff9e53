//go:build linux

package main

import (
	"encoding/binary"
	"errors"
)

// Frames of HTTP/2 (RFC 9113 section 6) that the canned gRPC server looks at.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameSettings     = 0x4
	framePing         = 0x6
	frameWindowUpdate = 0x8

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4

	settingTableSize     = 0x1
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4

	frameHead     = 9
	prefaceLength = 24
	defaultWindow = 65535
	maxWindow     = 1<<31 - 1
)

// The field blocks of an answer (RFC 7541): first the two fields that are not in
// the static table go into the dynamic one, then they are named from there, as
// the encoders of gRPC servers do.
var (
	blockHead         = literal([]byte{0x88, 0x5f}, "application/grpc")
	blockTrailer      = literal(literal([]byte{0x40}, "grpc-status"), "0")
	blockHeadAgain    = []byte{0x88, 0xbf}
	blockTrailerAgain = []byte{0xbe}
)

func literal(to []byte, text string) []byte { return append(append(to, byte(len(text))), text...) }

// grpcPeer is the state of one connection to the canned gRPC server. It reads
// frames, does not look into their fields, and answers what ends a stream.
type grpcPeer struct {
	preface  int      // bytes of the client's preface still to come
	partial  []byte   // a frame that is not complete yet
	out      []byte   // reused
	window   int64    // body bytes that the connection may still carry to the peer
	received int      // body bytes since the window was last opened
	waiting  []uint32 // streams that wait for the window
	answered bool     // the dynamic table is filled
}

// grpcHello is what the server begins with: 100 streams, as RFC 9113 has it for
// the least, and a window that the load does not fill.
func grpcHello() []byte {
	b := appendFrame(nil, frameSettings, 0, 0, 6)
	b = binary.BigEndian.AppendUint16(b, settingMaxStreams)
	b = binary.BigEndian.AppendUint32(b, 100)
	b = appendFrame(b, frameWindowUpdate, 0, 0, 4)
	return binary.BigEndian.AppendUint32(b, maxWindow-defaultWindow)
}

func appendFrame(b []byte, kind, flags byte, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// consume reads frames and appends what is to be written to g.out. It returns
// how many calls it has answered.
func (g *grpcPeer) consume(data, body []byte) (int, error) {
	if g.preface > 0 {
		n := min(g.preface, len(data))
		g.preface -= n
		data = data[n:]
	}
	if len(g.partial) > 0 {
		g.partial = append(g.partial, data...)
		data = g.partial
	}
	answers := 0
	for len(data) >= frameHead {
		length := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
		if len(data) < frameHead+length {
			break
		}
		n, err := g.frame(data[3], data[4], binary.BigEndian.Uint32(data[5:])&maxWindow, data[frameHead:frameHead+length], body)
		if err != nil {
			return answers, err
		}
		answers += n
		data = data[frameHead+length:]
	}
	g.partial = append(g.partial[:0], data...)
	return answers, nil
}

func (g *grpcPeer) frame(kind, flags byte, stream uint32, payload, body []byte) (answers int, err error) {
	switch kind {
	case frameData:
		g.received += len(payload)
		if g.received > maxWindow/2 {
			g.out = binary.BigEndian.AppendUint32(appendFrame(g.out, frameWindowUpdate, 0, 0, 4), uint32(g.received))
			g.received = 0
		}
		if flags&flagEndStream != 0 {
			return g.answer(stream, body), nil
		}
	case frameHeaders:
		if flags&flagEndStream != 0 {
			return g.answer(stream, body), nil
		}
	case frameSettings:
		if flags&flagAck == 0 {
			return 0, g.settings(payload, body)
		}
	case framePing:
		if flags&flagAck == 0 {
			g.out = append(appendFrame(g.out, framePing, flagAck, 0, len(payload)), payload...)
		}
	case frameWindowUpdate:
		if stream == 0 {
			g.window += int64(binary.BigEndian.Uint32(payload))
			return g.resume(body), nil
		}
	}
	return 0, nil
}

func (g *grpcPeer) settings(payload, body []byte) error {
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingTableSize:
			if value < 256 {
				return errors.New("the proxy allows no dynamic table, the canned gRPC server uses one")
			}
		case settingInitialWindow:
			if int(value) < len(body) {
				return errors.New("the proxy allows less than one message on a stream")
			}
		}
	}
	g.out = appendFrame(g.out, frameSettings, flagAck, 0, 0)
	return nil
}

// answer is the response to a call, or holds it back until the window is open.
func (g *grpcPeer) answer(stream uint32, body []byte) int {
	if g.window < int64(len(body)) {
		g.waiting = append(g.waiting, stream)
		return 0
	}
	g.window -= int64(len(body))
	head, trailer := blockHeadAgain, blockTrailerAgain
	if !g.answered {
		g.answered, head, trailer = true, blockHead, blockTrailer
	}
	g.out = append(appendFrame(g.out, frameHeaders, flagEndHeaders, stream, len(head)), head...)
	g.out = append(appendFrame(g.out, frameData, 0, stream, len(body)), body...)
	g.out = append(appendFrame(g.out, frameHeaders, flagEndHeaders|flagEndStream, stream, len(trailer)), trailer...)
	return 1
}

func (g *grpcPeer) resume(body []byte) int {
	n := 0
	for len(g.waiting) > 0 && g.window >= int64(len(body)) {
		stream := g.waiting[0]
		g.waiting = g.waiting[1:]
		n += g.answer(stream, body)
	}
	return n
}
