package http2

import "encoding/binary"

// frame is one frame in the read buffer. For the author of either half: body is
// valid until the next call of fill, and holds neither padding nor the
// priority of HEADERS.
type frame struct {
	typ   frameType
	flags uint8
	id    uint32
	size  int // of the payload as sent, padding included: what flow control counts
	body  []byte
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// frameReader cuts the bytes of a connection into frames, in place: the Framer
// of golang.org/x/net/http2 reads each header and each payload by itself and
// makes an object of it, which takes seven times as long and an allocation per
// frame (BenchmarkFrames).
//
//	for {
//		f, ok, bad := r.next()
//		switch {
//		case bad != nil: // the connection, or bad.stream
//		case ok:         // handle f
//		default:         // everything that came is handled: flush, then wait
//			err := r.fill()
//		}
//	}
type frameReader struct {
	source
	open uint32 // the stream whose header block is not complete; 0: none
}

// next is the next complete frame that is buffered, checked as far as a frame
// can be checked by itself (RFC 9113 section 4 and 6).
func (r *frameReader) next() (f frame, ok bool, bad *failure) {
	b := r.bytes()
	if len(b) < frameHeaderSize {
		return f, false, nil
	}
	size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f = frame{typ: frameType(b[3]), flags: b[4], id: binary.BigEndian.Uint32(b[5:9]) &^ (1 << 31), size: size}
	if size > minFrame {
		return f, false, broken(codeFrameSize, "a frame is larger than SETTINGS_MAX_FRAME_SIZE")
	}
	if len(b) < frameHeaderSize+size {
		return f, false, nil
	}
	f.body = b[frameHeaderSize : frameHeaderSize+size]
	r.consume(frameHeaderSize + size)
	if bad = r.order(&f); bad == nil {
		bad = f.check()
	}
	return f, bad == nil, bad
}

// partial is the type of a frame of which a part is buffered; ok is false when
// nothing is, or too little to tell.
func (r *frameReader) partial() (t frameType, ok bool) {
	b := r.bytes()
	if len(b) < 4 {
		return 0, false
	}
	return frameType(b[3]), true
}

// order keeps a header block in one piece (RFC 9113 section 4.3).
func (r *frameReader) order(f *frame) *failure {
	if r.open != 0 && (f.typ != frameContinuation || f.id != r.open) {
		return broken(codeProtocol, "a frame stands inside a header block")
	}
	switch f.typ {
	case frameContinuation:
		if r.open == 0 {
			return broken(codeProtocol, "CONTINUATION without a header block")
		}
		if f.has(flagEndHeaders) {
			r.open = 0
		}
	case frameHeaders, framePushPromise:
		if !f.has(flagEndHeaders) {
			r.open = f.id
		}
	}
	return nil
}

// check judges size and stream, and takes padding and priority off.
func (f *frame) check() *failure {
	switch f.typ {
	case frameData, frameHeaders, framePriority, frameReset, framePushPromise, frameContinuation:
		if f.id == 0 {
			return broken(codeProtocol, "a frame of a stream on stream 0")
		}
	case frameSettings, framePing, frameGoAway, framePriorityUpdate:
		if f.id != 0 {
			return broken(codeProtocol, "a frame of the connection on a stream")
		}
	}
	switch f.typ {
	case frameData:
		return f.unpad()
	case frameHeaders:
		if bad := f.unpad(); bad != nil {
			return bad
		}
		return f.takePriority()
	case framePriority:
		if f.size != 5 {
			return brokenStream(f.id, codeFrameSize, "PRIORITY of another size than 5")
		}
		if f.number()&^(1<<31) == f.id {
			return broken(codeProtocol, "a stream depends on itself")
		}
	case frameReset, frameWindowUpdate:
		if f.size != 4 {
			return broken(codeFrameSize, "RST_STREAM or WINDOW_UPDATE of another size than 4")
		}
	case frameSettings:
		if f.has(flagAck) && f.size != 0 || f.size%6 != 0 {
			return broken(codeFrameSize, "SETTINGS of a size that is no multiple of 6, or an acknowledgement with content")
		}
	case framePing:
		if f.size != 8 {
			return broken(codeFrameSize, "PING of another size than 8")
		}
	case frameGoAway:
		if f.size < 8 {
			return broken(codeFrameSize, "GOAWAY of less than 8 bytes")
		}
	case framePriorityUpdate:
		if f.size < 4 {
			return broken(codeFrameSize, "PRIORITY_UPDATE of less than 4 bytes")
		}
	}
	return nil
}

func (f *frame) unpad() *failure {
	if !f.has(flagPadded) {
		return nil
	}
	if len(f.body) == 0 || int(f.body[0]) >= len(f.body) {
		return broken(codeProtocol, "padding is longer than its frame")
	}
	f.body = f.body[1 : len(f.body)-int(f.body[0])]
	return nil
}

func (f *frame) takePriority() *failure {
	if !f.has(flagPriority) {
		return nil
	}
	if len(f.body) < 5 {
		return broken(codeFrameSize, "HEADERS without room for its priority")
	}
	if binary.BigEndian.Uint32(f.body)&^(1<<31) == f.id {
		// RFC 9113 section 5.3.1; the header block is still to be decoded, so the
		// whole connection goes: nobody does this by mistake.
		return broken(codeProtocol, "a stream depends on itself")
	}
	f.body = f.body[5:]
	return nil
}

// number is the 31 bits of WINDOW_UPDATE, the 32 of RST_STREAM.
func (f *frame) number() uint32 { return binary.BigEndian.Uint32(f.body) }

// goAway reads GOAWAY.
func (f *frame) goAway() (last uint32, code errCode, debug []byte) {
	return binary.BigEndian.Uint32(f.body) &^ (1 << 31), errCode(binary.BigEndian.Uint32(f.body[4:])), f.body[8:]
}
