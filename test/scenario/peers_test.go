package scenario

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	tcp := len(args) > 0 && args[0] == "-tcp"
	if tcp {
		args = args[1:]
	}
	set, rest := flags(args, "tls")
	usage(ts, neg || len(rest) != 2, "upstream [-tcp] [-tls LEAF] NAME SCRIPT")
	network, address := "unix", ts.MkAbs(rest[0]+".sock")
	if tcp {
		network, address = "tcp", "127.0.0.1:0"
	}
	ln, err := net.Listen(network, address)
	ts.Check(err)
	ts.Setenv(rest[0]+"_ADDR", ln.Addr().String())
	ts.Check(expandDocuments(ts.MkAbs("."), "$"+rest[0]+"_ADDR", ln.Addr().String()))
	if _, port, err := net.SplitHostPort(ln.Addr().String()); err == nil {
		ts.Setenv(rest[0]+"_PORT", port)
		ts.Check(expandDocuments(ts.MkAbs("."), "$"+rest[0]+"_PORT", port))
	}
	if leaf := set["tls"]; leaf != "" {
		pair, err := keyPair(ts.MkAbs("."), leaf)
		ts.Check(err)
		ln = tls.NewListener(ln, &tls.Config{Certificates: pair})
	} else if secure := worldOf(ts).server; secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	u, err := startUpstream(ln, ts.ReadFile(rest[1]), worldOf(ts).words)
	ts.Check(err)
	worldOf(ts).playing[rest[0]] = u
}

// dial connects to a socket of the case, or to an address.
func dial(ts *testscript.TestScript, to string, secure *tls.Config) (net.Conn, error) {
	network, dialer := "unix", net.Dialer{Timeout: patience}
	if secure == nil && to == "front.sock" {
		secure = worldOf(ts).client
	}
	if isAddress(to) {
		network = "tcp"
	} else {
		to = ts.MkAbs(to)
	}
	if secure != nil {
		return tls.DialWithDialer(&dialer, network, to, secure)
	}
	return dialer.Dial(network, to)
}

func cmdClient(ts *testscript.TestScript, neg bool, args []string) {
	set, rest := flags(args, "b", "tls", "cert")
	usage(ts, neg || len(rest) != 2, "client [-b NAME] [-tls SNI [-cert LEAF]] SOCKET SCRIPT")
	parts, err := parse(ts.ReadFile(rest[1]))
	ts.Check(err)
	var secure *tls.Config
	if set["tls"] != "" {
		secure, err = clientTLS(ts.MkAbs("."), set["tls"], set["cert"])
		ts.Check(err)
	}
	w := worldOf(ts)
	play := func() error {
		for _, p := range parts {
			conn, err := dial(ts, rest[0], secure)
			if err != nil {
				return err
			}
			err = p.play(conn, w.words)
			conn.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}
	if set["b"] == "" {
		if err := play(); err != nil {
			ts.Fatalf("client %s: %v", rest[1], err)
		}
		return
	}
	b := &backgroundClient{done: make(chan error, 1)}
	go func() { b.done <- play() }()
	w.playing[set["b"]] = b
}

// backgroundClient ends within patience per step.
type backgroundClient struct{ done chan error }

func (b *backgroundClient) wait() error {
	err := <-b.done
	b.done <- err // for close, and for who asks again
	return err
}

func (b *backgroundClient) close() {}

func cmdRefused(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "refused STATUS FILE")
	for i, line := range strings.Split(ts.ReadFile(args[1]), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		request, err := strconv.Unquote(line)
		ts.Check(err)
		if err := refused(ts, request, args[0]); err != nil {
			ts.Fatalf("%s:%d: %s: %v", args[1], i+1, line, err)
		}
	}
}

// refused sends a request and wants one answer with the status and the end of
// the connection; a second answer would mean that the rest was read as a request.
func refused(ts *testscript.TestScript, request, status string) error {
	conn, err := dial(ts, "front.sock", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	script := part{steps: []step{{verb: "send", text: request}, {verb: "rest"}}}
	d := dialogueOf(conn, worldOf(ts).words)
	if err := d.run(script); err != nil {
		return err
	}
	head, _, _ := strings.Cut(d.seen, "\r\n\r\n")
	switch {
	case !strings.HasPrefix(head, "HTTP/1.1 "+status+" "):
		return fmt.Errorf("answered %q", d.seen)
	case !strings.Contains(head, "\r\nConnection: close"):
		return fmt.Errorf("the end is not announced: %q", d.seen)
	case strings.Count(d.seen, "HTTP/1.1 ") != 1:
		return fmt.Errorf("answered more than once: %q", d.seen)
	}
	return nil
}
