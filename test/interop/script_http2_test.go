package interop

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn is a connection of a scripted upstream. It opens no window again.
type http2Conn struct {
	nc      net.Conn
	mu      sync.Mutex // of what is written
	framer  *xhttp2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	streams map[uint32]*http2Peer // only the reader knows it
}

func (th *theatre) performHTTP2(nc net.Conn, _ *net.TCPConn) {
	preface := make([]byte, len(xhttp2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != xhttp2.ClientPreface {
		return
	}
	c := &http2Conn{nc: nc, framer: xhttp2.NewFramer(nc, nc), streams: map[uint32]*http2Peer{}}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	c.write(func() { _ = c.framer.WriteSettings() })
	var running sync.WaitGroup
	defer running.Wait()
	defer func() {
		for _, p := range c.streams {
			p.leave()
		}
	}()
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *xhttp2.MetaHeadersFrame:
			if c.streams[f.StreamID] != nil {
				continue // trailers
			}
			p := &http2Peer{c: c, id: f.StreamID, left: make(chan struct{})}
			p.leave = sync.OnceFunc(func() { close(p.left) })
			c.streams[f.StreamID] = p
			path := f.PseudoValue("path")
			running.Go(func() { th.run(path, p) })
		case *xhttp2.RSTStreamFrame:
			if p := c.streams[f.StreamID]; p != nil {
				p.leave()
			}
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				c.write(func() { _ = c.framer.WriteSettingsAck() })
			}
		case *xhttp2.PingFrame:
			if !f.IsAck() {
				data := f.Data
				c.write(func() { _ = c.framer.WritePing(true, data) })
			}
		}
	}
}

func (c *http2Conn) write(frames func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames()
}

// http2Peer is a stream.
type http2Peer struct {
	c     *http2Conn
	id    uint32
	left  chan struct{}
	leave func()
}

func (p *http2Peer) head(status, length int) {
	p.c.write(func() {
		p.c.block.Reset()
		_ = p.c.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
		if length >= 0 {
			_ = p.c.encoder.WriteField(hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)})
		}
		_ = p.c.framer.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: p.id, BlockFragment: p.c.block.Bytes(), EndHeaders: true})
	})
}

func (p *http2Peer) data(content string) {
	p.c.write(func() { _ = p.c.framer.WriteData(p.id, false, []byte(content)) })
}

func (p *http2Peer) end() { p.c.write(func() { _ = p.c.framer.WriteData(p.id, true, nil) }) }

func (p *http2Peer) reset() {
	p.c.write(func() { _ = p.c.framer.WriteRSTStream(p.id, xhttp2.ErrCodeInternal) })
}

func (p *http2Peer) hangUp() { p.c.nc.Close() }

func (p *http2Peer) gone() <-chan struct{} { return p.left }
