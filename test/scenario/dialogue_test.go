package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// patience bounds every wait of a script: a hang is a failure, not a timeout
// of the whole test.
const patience = 20 * time.Second

// step is one line of a script.
type step struct {
	line int
	verb string
	n    int
	text string
}

// part is what is played on one connection.
type part struct {
	steps []step
	again bool
}

// parse reads a script into parts; one that does not say accept is one part.
func parse(source string) ([]part, error) {
	parts := []part{{}}
	for i, line := range strings.Split(source, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		s.line = i + 1
		last := &parts[len(parts)-1]
		switch s.verb {
		case "accept":
			if len(last.steps) > 0 {
				parts = append(parts, part{})
			}
		case "again":
			last.again = true
		default:
			last.steps = append(last.steps, s)
		}
	}
	return parts, nil
}

func parseStep(line string) (s step, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	s.verb, rest = verb, strings.TrimSpace(rest)
	switch verb {
	case "accept", "again", "head", "eof", "close", "reset", "stall":
		return s, nil
	case "read":
		s.n, err = strconv.Atoi(rest)
		return s, err
	case "send-many":
		count, text, _ := strings.Cut(rest, " ")
		if s.n, err = strconv.Atoi(count); err != nil {
			return s, err
		}
		rest = text
	case "send", "expect", "want", "reject":
	default:
		return s, fmt.Errorf("unknown step %q", verb)
	}
	s.text, err = strconv.Unquote(rest)
	return s, err
}

// play carries out the part on a connection.
func (p part) play(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	d := &dialogue{conn: conn, in: bufio.NewReader(conn)}
	for _, s := range p.steps {
		if err := d.step(s); err != nil {
			return fmt.Errorf("line %d, %s: %w", s.line, s.verb, err)
		}
	}
	return nil
}

type dialogue struct {
	conn net.Conn
	in   *bufio.Reader
	head string
}

func (d *dialogue) step(s step) error {
	switch s.verb {
	case "send":
		_, err := io.WriteString(d.conn, s.text)
		return err
	case "send-many":
		for range s.n {
			if _, err := io.WriteString(d.conn, s.text); err != nil {
				return err
			}
		}
		return nil
	case "head":
		return d.readHead()
	case "want", "reject":
		if strings.Contains(d.head, s.text) != (s.verb == "want") {
			return fmt.Errorf("%q in\n%s", s.text, d.head)
		}
		return nil
	case "expect":
		return d.expect(s.text)
	case "read":
		_, err := io.CopyN(io.Discard, d.in, int64(s.n))
		return err
	case "eof":
		return d.end()
	case "stall":
		_, _ = io.Copy(io.Discard, d.in)
		return nil
	case "reset":
		if tcp, ok := d.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	return d.conn.Close()
}

func (d *dialogue) readHead() error {
	var b strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return fmt.Errorf("after %q: %w", b.String(), err)
		}
		if line == "\r\n" {
			d.head = b.String()
			return nil
		}
	}
}

func (d *dialogue) expect(text string) error {
	var got strings.Builder
	for !strings.HasSuffix(got.String(), text) {
		c, err := d.in.ReadByte()
		if err != nil {
			return fmt.Errorf("want %q, got %q: %w", text, got.String(), err)
		}
		got.WriteByte(c)
	}
	return nil
}

func (d *dialogue) end() error {
	rest, err := io.ReadAll(io.LimitReader(d.in, 1<<20))
	if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("the other side said %q first", rest)
	}
	return nil
}
