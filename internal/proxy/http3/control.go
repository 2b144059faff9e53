package http3

import (
	"bufio"
	"errors"
	"io"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// peer is what the unidirectional streams of the other end have said. It is the
// same in both halves; client says which one we are.
type peer struct {
	conn   *quic.Conn
	client bool // we are the client
	score  *score
	// settings is called once, with what the peer's SETTINGS say.
	settings func(connectEnabled bool)
	// goAway is called with each identifier, which never grows.
	goAway func(id uint64)

	seen [streamDecoder + 1]bool // under mu of the owner; which critical streams have come
}

// claim notes a critical stream; false when it is the second of its type.
func (p *peer) claim(typ uint64) bool {
	if p.seen[typ] {
		return false
	}
	p.seen[typ] = true
	return true
}

// serve reads a unidirectional stream to its end. claim is called under the
// lock of the owner. The error, when not nil, ends the connection.
func (p *peer) serve(str *quic.ReceiveStream, claim func(uint64) bool) error {
	r := bufio.NewReaderSize(str, 128)
	typ, err := quicvarint.Read(r)
	if err != nil {
		str.CancelRead(codeNoError)
		str.ReleaseStreamCredit()
		return p.score.add(pointsUni)
	}
	if typ == streamPush {
		if p.client {
			return fatal(codeIDError, "a push that nobody allowed")
		}
		return fatal(codeStreamCreation, "a push stream of a client")
	}
	if typ > streamDecoder { // unknown, or grease (RFC 9114 section 6.2.3)
		str.CancelRead(codeStreamCreation)
		str.ReleaseStreamCredit()
		return p.score.add(pointsUni)
	}
	if !claim(typ) {
		return fatal(codeStreamCreation, "a second control or QPACK stream")
	}
	switch typ {
	case streamControl:
		err = p.control(r)
	case streamEncoder:
		err = p.encoder(r)
	default:
		err = p.decoder(r)
	}
	var ce *connError
	if errors.As(err, &ce) {
		return ce
	}
	return fatal(codeClosedCritical, "a control or QPACK stream was closed")
}

// encoder reads instructions for a dynamic table that was not offered (RFC 9204
// section 4.3): only one that sets its capacity to nothing makes sense.
func (p *peer) encoder(r *bufio.Reader) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if b != 0x20 {
			return fatal(codeEncoderStream, "an instruction for a dynamic table that was not offered")
		}
		if err := p.score.add(pointsControl); err != nil {
			return err
		}
	}
}

// decoder reads what the peer says of our field sections (RFC 9204 section
// 4.4), which never used a dynamic table: streams may be canceled, no more.
func (p *peer) decoder(r *bufio.Reader) error {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		if b&0xc0 != 0x40 {
			return fatal(codeDecoderStream, "an acknowledgement of a dynamic table that was not used")
		}
		for more, n := b&0x3f == 0x3f, 0; more; n++ {
			if b, err = r.ReadByte(); err != nil {
				return err
			}
			if more = b&0x80 != 0; n > 9 {
				return fatal(codeDecoderStream, "an integer is too long")
			}
		}
		if err := p.score.add(1); err != nil {
			return err
		}
	}
}

// control reads the control stream (RFC 9114 section 6.2.1).
func (p *peer) control(r *bufio.Reader) error {
	lastID, lastPush := uint64(quicvarint.Max), uint64(0)
	for first := true; ; first = false {
		typ, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		length, err := quicvarint.Read(r)
		if err != nil {
			return err
		}
		if first {
			if typ != frameSettings {
				return fatal(codeMissingSettings, "the control stream does not begin with SETTINGS")
			}
			if err := p.readSettings(r, length); err != nil {
				return err
			}
			continue
		}
		if err := p.frame(r, typ, length, &lastID, &lastPush); err != nil {
			return err
		}
	}
}

// frame reads one frame behind SETTINGS.
func (p *peer) frame(r *bufio.Reader, typ, length uint64, lastID, lastPush *uint64) error {
	switch typ {
	case frameGoAway, frameMaxPushID, frameCancelPush:
		if err := p.score.add(pointsControl); err != nil {
			return err
		}
		id, err := soleID(r, length)
		if err != nil {
			return err
		}
		switch {
		case typ == frameGoAway:
			if id > *lastID || p.client && id%4 != 0 {
				return fatal(codeIDError, "the identifier of GOAWAY")
			}
			*lastID = id
			p.goAway(id)
		case typ == frameCancelPush:
			return fatal(codeIDError, "CANCEL_PUSH of a push that never was")
		case p.client:
			return fatal(codeFrameUnexpected, "MAX_PUSH_ID of a server")
		case id < *lastPush:
			return fatal(codeIDError, "MAX_PUSH_ID shrinks")
		default:
			*lastPush = id
		}
		return nil
	case framePriorityRequest, framePriorityPush: // a hint (RFC 9218) that we do not need
		if p.client {
			return fatal(codeFrameUnexpected, "PRIORITY_UPDATE of a server")
		}
		return p.discard(r, length, maxControl, pointsPriority)
	case frameSettings, frameData, frameHeaders, framePushPromise:
		return fatal(codeFrameUnexpected, "a frame that does not belong on the control stream")
	}
	if reservedFrame(typ) {
		return fatal(codeFrameUnexpected, "a frame of HTTP/2")
	}
	return p.discard(r, length, maxUnknown, pointsUnknown)
}

func (p *peer) discard(r *bufio.Reader, length, limit uint64, points int) error {
	if length > limit {
		return fatal(codeExcessiveLoad, "a frame of the control stream is too long")
	}
	if err := p.score.add(points + int(length>>10)); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return err
}

// soleID is the payload of a frame that holds one integer.
func soleID(r *bufio.Reader, length uint64) (uint64, error) {
	if length == 0 || length > 8 {
		return 0, fatal(codeFrameError, "a frame does not have the length of its content")
	}
	id, err := quicvarint.Read(r)
	if err == nil && uint64(quicvarint.Len(id)) != length {
		err = fatal(codeFrameError, "a frame does not have the length of its content")
	}
	return id, err
}

// readSettings reads SETTINGS (RFC 9114 section 7.2.4).
func (p *peer) readSettings(r io.Reader, length uint64) error {
	if length > maxSettings {
		return fatal(codeExcessiveLoad, "SETTINGS is too long")
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	connectEnabled, err := parseSettings(payload)
	if err != nil {
		return err
	}
	p.settings(connectEnabled)
	return nil
}

func parseSettings(payload []byte) (connectEnabled bool, err error) {
	seen := make(map[uint64]bool)
	for len(payload) > 0 {
		id, n, err := quicvarint.Parse(payload)
		if err != nil {
			return false, fatal(codeFrameError, "SETTINGS is cut")
		}
		value, m, err := quicvarint.Parse(payload[n:])
		if err != nil {
			return false, fatal(codeFrameError, "SETTINGS is cut")
		}
		payload = payload[n+m:]
		switch {
		case seen[id], 0x2 <= id && id <= 0x5, id == settingConnectEnabled && value > 1:
			return false, fatal(codeSettingsError, "a setting stands twice, belongs to HTTP/2 or has no such value")
		case id == settingConnectEnabled:
			connectEnabled = value == 1
		}
		seen[id] = true
	}
	return connectEnabled, nil
}

// openControl opens our control stream and sends SETTINGS.
func openControl(conn *quic.Conn, limits *Limits, connectEnabled bool) (*quic.SendStream, error) {
	str, err := conn.OpenUniStream()
	if err != nil {
		return nil, err
	}
	payload := quicvarint.Append(nil, settingMaxSection)
	payload = quicvarint.Append(payload, uint64(limits.MaxHeaderBytes))
	if connectEnabled {
		payload = quicvarint.Append(payload, settingConnectEnabled)
		payload = quicvarint.Append(payload, 1)
	}
	out := quicvarint.Append(nil, streamControl)
	out = quicvarint.Append(out, frameSettings)
	out = quicvarint.Append(out, uint64(len(payload)))
	_, err = str.Write(append(out, payload...))
	return str, err
}

// writeGoAway sends GOAWAY.
func writeGoAway(str *quic.SendStream, id uint64) error {
	out := quicvarint.Append(nil, frameGoAway)
	out = quicvarint.Append(out, uint64(quicvarint.Len(id)))
	return str.TryWriteAll(quicvarint.Append(out, id))
}
