package detect

import (
	"context"
	"errors"
	"net"

	"github.com/weirproxy/weir/internal/clienthello"
	"github.com/weirproxy/weir/stream"
)

// firstRead has room for almost every hello, one with post-quantum key shares
// included.
const firstRead = 2 << 10

var (
	errBadHello = errors.New("the TLS hello is malformed, or larger than 16 KiB")
	errCutHello = errors.New("the client ended the connection inside a TLS hello")
)

// PeekHello reads the TLS hello at the start of nc, to pass it on, and puts it
// into facts. hello is nil when the client does not speak TLS. A fault means
// that the connection is to be closed: of a hello that two servers might read
// in different ways no name is taken, and none is left out.
func (s *Stage) PeekHello(ctx context.Context, nc net.Conn, facts *stream.Conn) (_ net.Conn, hello *stream.Hello, _ *stream.Fault) {
	var names stream.Hello
	var state clienthello.State
	var read []byte
	late, err := s.bounded(ctx, nc, stream.PhaseHello, func() (err error) {
		read, names, state, err = readHello(nc)
		return err
	})
	switch {
	case late || err != nil && !isEnd(err) || len(read) == 0:
		return nil, nil, s.broken(ctx, late, err)
	case state == clienthello.Complete:
		s.Stats.HelloRead.Add(1)
		facts.Hello = &names
	case state == clienthello.NotTLS:
		s.Stats.HelloNone.Add(1)
	default:
		s.Stats.HelloBad.Add(1)
		cause := errBadHello
		if state == clienthello.More {
			cause = errCutHello
		}
		return nil, nil, &stream.Fault{Kind: stream.RequestMalformed, Cause: cause}
	}
	return ahead(nc, read), facts.Hello, nil
}

// readHello reads until there is a verdict, or the connection ends.
func readHello(nc net.Conn) (read []byte, hello stream.Hello, state clienthello.State, err error) {
	var parser clienthello.Parser
	buf, have := make([]byte, firstRead), 0
	for {
		n, err := nc.Read(buf[have:])
		have += n
		if n > 0 {
			if hello, state = parser.Parse(buf[:have]); state != clienthello.More {
				return buf[:have], hello, state, nil
			}
		}
		if err != nil {
			return buf[:have], stream.Hello{}, clienthello.More, err
		}
		if have == len(buf) { // the parser has a verdict after MaxBytes
			buf = append(buf, make([]byte, have)...)
		}
	}
}
