package interop

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// What HTTP/3 calls things (RFC 9114).
const (
	http3Control       = 0x0 // a stream
	http3Data          = 0x0
	http3Headers       = 0x1
	http3Settings      = 0x4
	http3NoError       = 0x100
	http3InternalError = 0x102
)

func (th *theatre) performHTTP3(t testing.TB) string {
	t.Helper()
	pc := listenPacket(t)
	transport := &quic.Transport{Conn: pc}
	ln, err := transport.Listen(th.trust.server("h3"), &quic.Config{InitialStreamReceiveWindow: 64 << 10, MaxStreamReceiveWindow: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			running.Go(func() { th.performHTTP3Conn(ctx, conn, &running) })
		}
	})
	t.Cleanup(func() {
		cancel()
		ln.Close()
		transport.Close()
		pc.Close()
		running.Wait()
	})
	return pc.LocalAddr().(*net.UDPAddr).String()
}

func (th *theatre) performHTTP3Conn(ctx context.Context, conn *quic.Conn, running *sync.WaitGroup) {
	control, err := conn.OpenUniStream()
	if err != nil {
		return
	}
	settings := quicvarint.Append(nil, http3Control)
	settings = quicvarint.Append(settings, http3Settings)
	if _, err := control.Write(quicvarint.Append(settings, 0)); err != nil { // all defaults
		return
	}
	running.Go(func() {
		for {
			uni, err := conn.AcceptUniStream(ctx)
			if err != nil {
				return
			}
			running.Go(func() { _, _ = io.Copy(io.Discard, uni) })
		}
	})
	for {
		str, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		running.Go(func() {
			if path, ok := http3Path(str); ok {
				th.run(path, &http3Peer{conn: conn, str: str})
			}
		})
	}
}

// http3Path reads the head of a request.
func http3Path(str *quic.Stream) (string, bool) {
	in := quicvarint.NewReader(str)
	kind, err := quicvarint.Read(in)
	if err != nil || kind != http3Headers {
		return "", false
	}
	size, err := quicvarint.Read(in)
	if err != nil {
		return "", false
	}
	block := make([]byte, size)
	if _, err := io.ReadFull(in, block); err != nil {
		return "", false
	}
	next := qpack.NewDecoder().Decode(block)
	for {
		field, err := next()
		if err != nil {
			return "", false
		}
		if field.Name == ":path" {
			return field.Value, true
		}
	}
}

// http3Peer is a stream.
type http3Peer struct {
	conn *quic.Conn
	str  *quic.Stream
}

func (p *http3Peer) frame(kind uint64, payload []byte) {
	out := quicvarint.Append(nil, kind)
	out = quicvarint.Append(out, uint64(len(payload)))
	_, _ = p.str.Write(append(out, payload...))
}

func (p *http3Peer) head(status, length int) {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	_ = encoder.WriteField(qpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	if length >= 0 {
		_ = encoder.WriteField(qpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)})
	}
	p.frame(http3Headers, block.Bytes())
}

func (p *http3Peer) data(content string) { p.frame(http3Data, []byte(content)) }
func (p *http3Peer) end()                { p.str.Close() }

func (p *http3Peer) reset() {
	p.str.CancelRead(http3InternalError)
	p.str.CancelWrite(http3InternalError)
}

func (p *http3Peer) hangUp() { _ = p.conn.CloseWithError(http3NoError, "") }

// gone: the client of a QUIC stream leaves by STOP_SENDING, which ends the
// context of the sending side.
func (p *http3Peer) gone() <-chan struct{} { return p.str.Context().Done() }
