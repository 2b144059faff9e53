package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/stream"
)

// check asks one endpoint; nil means fit. It is the recover boundary of its
// goroutine.
func (c *Checker) check(ctx context.Context, e *endpoint.Endpoint) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.Stats.Panics.Add(1)
			err = fmt.Errorf("the check panicked: %v", r)
		}
	}()
	timeout := time.Duration(c.spec.Timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = c.probe(ctx, e)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &tooLate{timeout}
	}
	return err
}

// tooLate is a check that took longer than its timeout.
type tooLate struct{ timeout time.Duration }

func (l *tooLate) Error() string { return fmt.Sprintf("no answer within %v", l.timeout) }

// probe asks in the way of the type.
func (c *Checker) probe(ctx context.Context, e *endpoint.Endpoint) error {
	switch c.spec.Type {
	case "grpc":
		return c.callHealth(ctx, e)
	case "postgres":
		return c.checkPostgres(ctx, e)
	case "http":
		if c.call != nil {
			return c.callPath(ctx, e)
		}
	}
	return c.connect(ctx, e)
}

// connect is a check over a connection that nothing else uses.
func (c *Checker) connect(ctx context.Context, e *endpoint.Endpoint) error {
	nc, err := c.dial(ctx, e)
	if err != nil {
		return namesExpiry(err)
	}
	defer nc.Close()
	defer bindDeadline(ctx, nc)()
	switch c.spec.Type {
	case "http":
		return c.ask(nc, e)
	case "tls":
		return checkExpiry(nc)
	case "redis":
		return c.ping(nc)
	}
	return nil
}

// bindDeadline makes ctx the end of every wait on nc, until release.
func bindDeadline(ctx context.Context, nc net.Conn) (release func() bool) {
	return context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
}

// ask makes one exchange on a connection of its own. The body is not read.
func (c *Checker) ask(nc net.Conn, e *endpoint.Endpoint) error {
	host := c.spec.Host
	if host == "" {
		host = e.Authority()
	}
	request := "GET " + c.spec.Path + " HTTP/1.1\r\nHost: " + host +
		"\r\nUser-Agent: weir-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(nc, request); err != nil {
		return fmt.Errorf("GET %s: %w", c.spec.Path, err)
	}
	status, err := readStatus(nc)
	if err != nil {
		return fmt.Errorf("GET %s: %w", c.spec.Path, err)
	}
	return c.judgeStatus(status)
}

// callPath is ask by the exchange that the engine makes. The body is not read.
func (c *Checker) callPath(ctx context.Context, e *endpoint.Endpoint) error {
	req := c.request(ctx, e)
	req.Method = "GET"
	path, query, hasQuery := strings.Cut(c.spec.Path, "?")
	req.Target.Path, req.Target.Query, req.Target.HasQuery = path, query, hasQuery
	req.Header.AddID(stream.UserAgent, "weir-health")
	resp, err := c.call(ctx, e, req)
	if err != nil {
		return fmt.Errorf("GET %s: %w", c.spec.Path, err)
	}
	_ = resp.Body.Close()
	return c.judgeStatus(resp.Status)
}

func (c *Checker) judgeStatus(status int) error {
	if !c.accepted.Has(status) {
		return &badStatus{c.spec.Path, status}
	}
	return nil
}

// badStatus is an answer with a status that does not mean fit.
type badStatus struct {
	path   string
	status int
}

func (b *badStatus) Error() string { return fmt.Sprintf("GET %s: status %d", b.path, b.status) }

// request is an exchange without method and path that ends with ctx.
func (c *Checker) request(ctx context.Context, e *endpoint.Endpoint) *stream.Request {
	deadline, _ := ctx.Deadline()
	req := &stream.Request{
		Proto: stream.HTTP2, Target: stream.Target{Scheme: "http"}, Body: stream.NoBody, Conn: &stream.Conn{}, Deadline: deadline,
	}
	host := c.spec.Host
	if host == "" {
		host = e.Authority()
	}
	var err error
	if req.Target.Host, req.Target.Port, err = stream.ParseAuthority(host); err != nil {
		req.Target.Host, req.Target.Port = "localhost", ""
	}
	return req
}

// maxHead bounds what is read of an answer: interim responses and the status
// line of the final one.
const maxHead = 8 << 10

var errNotHTTP = errors.New("the answer is not HTTP/1")

// readStatus reads up to the first status line that is final (RFC 9112 section
// 4, RFC 9110 section 15.2).
func readStatus(r io.Reader) (int, error) {
	head, total := make([]byte, 0, 512), 0
	for {
		for {
			status, rest, complete, err := nextStatus(head)
			if err != nil || complete && status >= 200 {
				return status, err
			}
			if !complete {
				break
			}
			head = rest // after an interim response
		}
		if total >= maxHead {
			return 0, fmt.Errorf("no final status line within %d bytes", maxHead)
		}
		if len(head) == cap(head) {
			head = append(make([]byte, 0, 2*cap(head)+512), head...)
		}
		n, err := r.Read(head[len(head):cap(head)])
		head, total = head[:len(head)+n], total+n
		if err != nil && n == 0 {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection was closed before a status line")
			}
			return 0, err
		}
	}
}

// nextStatus looks at the first head in b. An interim one is complete with its
// empty line, a final one with its status line.
func nextStatus(b []byte) (status int, rest []byte, complete bool, err error) {
	const prefix, least = "HTTP/1.", len("HTTP/1.1 200")
	if !bytes.HasPrefix(b, []byte(prefix)[:min(len(b), len(prefix))]) {
		return 0, nil, false, errNotHTTP
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, nil, false, nil
	}
	line := strings.TrimSuffix(string(b[:end]), "\r")
	if len(line) < least || line[8] != ' ' || len(line) > least && line[least] != ' ' || line[7] != '0' && line[7] != '1' {
		return 0, nil, false, errNotHTTP
	}
	status, err = strconv.Atoi(line[9:least])
	if err != nil || status < 100 || status > 599 || line[9] == '+' {
		return 0, nil, false, errNotHTTP
	}
	if status == 101 {
		return 0, nil, false, errors.New("101 to a request without Upgrade")
	}
	if status >= 200 {
		return status, nil, true, nil
	}
	for _, blank := range []string{"\r\n\r\n", "\n\n"} {
		if at := bytes.Index(b, []byte(blank)); at >= 0 {
			return status, b[at+len(blank):], true, nil
		}
	}
	return 0, nil, false, nil
}
