package health

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// maxReply bounds a reply of Redis: a status, or an error with its sentence.
const maxReply = 1 << 10

// ping asks a server that speaks the protocol of Redis (RESP), after a login if
// there is a password.
func (c *Checker) ping(nc net.Conn) error {
	replies := bufio.NewReaderSize(nc, maxReply)
	if !c.password.Empty() {
		login := []string{"AUTH"}
		if c.spec.User != "" {
			login = append(login, c.spec.User)
		}
		if _, err := nc.Write(command(append(login, string(trimLine(c.password.Reveal())))...)); err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
		if err := readReply(replies, "OK"); err != nil {
			return fmt.Errorf("AUTH: %w", withoutText(err))
		}
	}
	if _, err := nc.Write(command("PING")); err != nil {
		return fmt.Errorf("PING: %w", err)
	}
	if err := readReply(replies, "PONG"); err != nil {
		return fmt.Errorf("PING: %w", err)
	}
	return nil
}

// command is an array of bulk strings, which carry any bytes.
func command(words ...string) []byte {
	b := append(strconv.AppendInt([]byte{'*'}, int64(len(words)), 10), "\r\n"...)
	for _, w := range words {
		b = append(strconv.AppendInt(append(b, '$'), int64(len(w)), 10), "\r\n"...)
		b = append(append(b, w...), "\r\n"...)
	}
	return b
}

// refusal is an error reply: a code and a sentence.
type refusal struct{ code, text string }

func (r *refusal) Error() string {
	if r.code == "NOAUTH" {
		return r.code + " " + r.text + " (give health a password)"
	}
	return strings.TrimSpace(r.code + " " + r.text)
}

// withoutText leaves out what a server says about a login: one that does not
// know the command repeats its words, and with them the password.
func withoutText(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	switch r.code {
	case "ERR", "WRONGPASS", "LOADING", "NOAUTH", "NOPERM":
		return errors.New("the server refuses the login: " + r.code)
	}
	return errors.New("the server refuses the login")
}

var errNotRedis = errors.New("the answer is not that of Redis")

// readReply reads one reply and wants a status: good.
func readReply(r *bufio.Reader, good string) error {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("the answer is longer than %d bytes", maxReply)
	case err != nil && len(line) == 0:
		return notAnswered(err)
	case err != nil:
		return errors.New("the answer is cut off")
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || text == "" {
		return errNotRedis
	}
	kind, text := text[0], text[1:]
	switch {
	case kind == '+' && text == good:
		return nil
	case kind == '+':
		return fmt.Errorf("the answer is %q, not %s", printable(text), good)
	case kind == '-':
		code, sentence, _ := strings.Cut(text, " ")
		return &refusal{printable(code), printable(sentence)}
	}
	return errNotRedis
}
