package health

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/weirproxy/weir/internal/endpoint"
)

const (
	// startupVersion is protocol 3.0, sslRequest the code in its place that asks
	// for TLS (PostgreSQL, "Message Formats").
	startupVersion = 3 << 16
	sslRequest     = 1234<<16 | 5679
	// maxPostgres bounds one message of a server that is not logged in to, and
	// maxMessages how many come before the one that decides.
	maxPostgres = 8 << 10
	maxMessages = 8
)

// checkPostgres asks whether a server takes logins, as pg_isready does: it sends
// the message that begins a session and leaves at the first answer.
func (c *Checker) checkPostgres(ctx context.Context, e *endpoint.Endpoint) error {
	nc, err := c.plain(ctx, e)
	if err != nil {
		return err
	}
	defer func() { nc.Close() }()
	stop := bindDeadline(ctx, nc)
	defer func() { stop() }()
	if c.secure != nil {
		if err := requestTLS(nc); err != nil {
			return err
		}
		stop()
		secured, err := c.secure(ctx, nc, e)
		if err != nil {
			return err
		}
		nc = secured
		stop = bindDeadline(ctx, nc)
	}
	if _, err := nc.Write(startup(c.spec.User, c.spec.Database)); err != nil {
		return fmt.Errorf("startup: %w", err)
	}
	return readStartup(bufio.NewReaderSize(nc, maxPostgres))
}

// requestTLS asks for TLS. One byte answers; nothing of what may be behind it is
// read in the clear.
func requestTLS(nc net.Conn) error {
	if _, err := nc.Write(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest)); err != nil {
		return fmt.Errorf("SSLRequest: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil {
		return fmt.Errorf("SSLRequest: %w", notAnswered(err))
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return errors.New("the server does not speak TLS: switch ssl on there, or remove tls from the cluster")
	case 'E':
		return errors.New("the server answers SSLRequest with an error")
	}
	return errNotPostgres
}

// startup is the message that begins a session.
func startup(user, database string) []byte {
	if user == "" {
		user = "postgres"
	}
	words := []string{"user", user, "application_name", "weir-health"}
	if database != "" {
		words = append(words, "database", database)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 4, 128), startupVersion)
	for _, w := range words {
		b = append(append(b, w...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

var errNotPostgres = errors.New("the answer is not that of PostgreSQL")

// readStartup reads up to the first message that says whether the server takes
// logins. It does when it asks for a password, lets in, or refuses this login
// for a reason of its own: a user or a database that is not there.
func readStartup(r *bufio.Reader) error {
	for range maxMessages {
		kind, content, err := readPostgres(r)
		if err != nil {
			return fmt.Errorf("startup: %w", err)
		}
		switch kind {
		case 'R':
			if len(content) < 4 {
				return errNotPostgres
			}
			return nil
		case 'E':
			return judgePostgres(content)
		case 'N', 'v': // a notice; an older version of the protocol is enough
		default:
			return errNotPostgres
		}
	}
	return fmt.Errorf("%d messages and none that decides", maxMessages)
}

// readPostgres reads one message: its kind, a length that counts itself, the
// content.
func readPostgres(r *bufio.Reader) (kind byte, content []byte, err error) {
	head, err := r.Peek(5)
	if err != nil {
		if len(head) > 0 {
			return 0, nil, errNotPostgres
		}
		return 0, nil, notAnswered(err)
	}
	kind, length := head[0], binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > maxPostgres {
		return 0, nil, errNotPostgres
	}
	_, _ = r.Discard(5) // they are in the buffer
	content = make([]byte, length-4)
	if _, err := io.ReadFull(r, content); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil, errors.New("the answer is cut off")
		}
		return 0, nil, err
	}
	return kind, content, nil
}

// judgePostgres reads an error: fields of a letter and a text, of which C is the
// SQLSTATE and M the sentence. Class 57 is the server's own state: starting
// (57P03), shutting down (57P01), recovering from a crash (57P02).
func judgePostgres(content []byte) error {
	code, sentence := "", ""
	for len(content) > 0 && content[0] != 0 {
		text, rest, ok := strings.Cut(string(content[1:]), "\x00")
		if !ok {
			return errNotPostgres
		}
		switch content[0] {
		case 'C':
			code = text
		case 'M':
			sentence = text
		}
		content = []byte(rest)
	}
	switch {
	case len(code) != 5:
		return errNotPostgres
	case strings.HasPrefix(code, "57"):
		return fmt.Errorf("the server takes no logins: %s (%s)", printable(sentence), printable(code))
	}
	return nil
}
