package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
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

	pause time.Duration
}

// part is what is played on one connection.
type part struct {
	steps []step
	again bool
}

// parse reads a script into parts; one that does not say accept is one part.
func parse(source string) ([]part, error) {
	var parts []part
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
		if begins := s.verb == "accept" || s.verb == "connect"; begins || len(parts) == 0 {
			parts = append(parts, part{})
			if begins {
				continue
			}
		}
		last := &parts[len(parts)-1]
		if s.verb == "again" {
			last.again = true
			continue
		}
		last.steps = append(last.steps, s)
	}
	return parts, nil
}

func parseStep(line string) (s step, err error) {
	verb, rest, _ := strings.Cut(line, " ")
	s.verb, rest = verb, strings.TrimSpace(rest)
	switch verb {
	case "accept", "connect", "again", "head", "rest", "eof", "close", "close-write", "reset", "stall", "flood":
		return s, nil
	case "pause":
		s.pause, err = time.ParseDuration(rest)
		return s, err
	case "dribble":
		pause, text, _ := strings.Cut(rest, " ")
		if s.pause, err = time.ParseDuration(pause); err != nil {
			return s, err
		}
		rest = text
	case "await", "reach":
		s.text = rest
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
	case "send", "expect", "body", "want", "reject":
	default:
		return s, fmt.Errorf("unknown step %q", verb)
	}
	s.text, err = strconv.Unquote(rest)
	return s, err
}

// play carries out the part on a connection.
func (p part) play(conn net.Conn, w *words) error {
	return dialogueOf(conn, w).run(p)
}

func dialogueOf(conn net.Conn, w *words) *dialogue {
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &dialogue{conn: conn, in: bufio.NewReader(conn), words: w}
}

func (d *dialogue) run(p part) error {
	for _, s := range p.steps {
		if err := d.step(s); err != nil {
			return fmt.Errorf("line %d, %s: %w", s.line, s.verb, err)
		}
	}
	return nil
}

type dialogue struct {
	conn  net.Conn
	in    *bufio.Reader
	words *words
	seen  string // by head or rest
}

func (d *dialogue) step(s step) error {
	switch s.verb {
	case "send":
		return d.send(s.text, 1)
	case "send-many":
		return d.send(s.text, s.n)
	case "pause":
		<-time.After(s.pause)
		return nil
	case "dribble":
		return d.dribble(s.text, s.pause)
	case "flood":
		return d.flood()
	case "head":
		return d.readHead()
	case "rest":
		b, err := io.ReadAll(d.in)
		d.seen = string(b)
		return notTimeout(err)
	case "want", "reject":
		if strings.Contains(d.seen, s.text) != (s.verb == "want") {
			return fmt.Errorf("%q in\n%q", s.text, d.seen)
		}
		return nil
	case "expect":
		return d.expect(s.text)
	case "body":
		got := make([]byte, len(s.text))
		n, err := io.ReadFull(d.in, got)
		if string(got[:n]) != s.text {
			return fmt.Errorf("want %q, got %q: %w", s.text, got[:n], err)
		}
		return nil
	case "read":
		_, err := io.CopyN(io.Discard, d.in, int64(s.n))
		return err
	case "eof":
		return d.end()
	case "stall":
		_, err := io.Copy(io.Discard, d.in)
		return notTimeout(err)
	case "await":
		return d.words.await(s.text)
	case "reach":
		d.words.reach(s.text)
		return nil
	case "close-write":
		return d.conn.(interface{ CloseWrite() error }).CloseWrite()
	case "reset":
		return reset(d.conn)
	}
	return d.conn.Close()
}

// send writes n times. That the other side may have gone is for the next step
// to say: a refusal comes before all was sent.
func (d *dialogue) send(text string, n int) error {
	for batch := max(1, (64<<10)/max(1, len(text))); n > 0; n -= batch {
		if _, err := io.WriteString(d.conn, strings.Repeat(text, min(n, batch))); err != nil {
			if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return err
		}
	}
	return nil
}

// dribble writes text again and again, with a pause before each, until the
// other side says something or has had enough.
func (d *dialogue) dribble(text string, pause time.Duration) error {
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = d.in.Peek(1)
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-said:
			return nil
		case <-tick.C:
			if err := d.send(text, 1); err != nil {
				return err
			}
		}
	}
}

// flood writes until the other side takes no more of it.
func (d *dialogue) flood() error {
	piece := make([]byte, 64<<10)
	for {
		if _, err := d.conn.Write(piece); err != nil {
			return notTimeout(err)
		}
	}
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
			d.seen = b.String()
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

// end wants the end of the stream, of whatever kind.
func (d *dialogue) end() error {
	rest, err := io.ReadAll(io.LimitReader(d.in, 1<<20))
	if len(rest) > 0 {
		return fmt.Errorf("the other side said %q first", rest)
	}
	return notTimeout(err)
}

// reset closes conn so that the other side sees no orderly end.
func reset(conn net.Conn) error {
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = under.NetConn()
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return conn.Close()
}

func notTimeout(err error) error {
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return err
	}
	return nil
}
