package scenario

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
)

// nameServer answers questions over UDP with the records that it was told
// last.
type nameServer struct {
	pc net.PacketConn

	mu      sync.Mutex
	records []dns.RR
	fails   bool // SERVFAIL to everything
}

func cmdNames(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg || len(args) != 2, "names NAME RECORDS")
	w := worldOf(ts)
	server, told := w.playing[args[0]].(*nameServer)
	if !told {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		ts.Check(err)
		server = &nameServer{pc: pc}
		w.playing[args[0]] = server
		ts.Check(expandDocuments(ts.MkAbs("."), "$"+args[0]+"_ADDR", pc.LocalAddr().String()))
	}
	if err := server.tell(os.Expand(ts.ReadFile(args[1]), ts.Getenv)); err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if !told {
		go server.serve()
	}
}

// tell replaces what the server knows: a record per line, or SERVFAIL.
func (n *nameServer) tell(source string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records, n.fails = nil, false
	for _, line := range strings.Split(source, "\n") {
		line = strings.TrimSpace(line)
		if line == "SERVFAIL" {
			n.fails = true
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		if rr != nil {
			n.records = append(n.records, rr)
		}
	}
	return nil
}

func (n *nameServer) serve() {
	packet := make([]byte, 4096)
	for {
		size, from, err := n.pc.ReadFrom(packet)
		if err != nil {
			return
		}
		question := new(dns.Msg)
		if err := question.Unpack(packet[:size]); err != nil || len(question.Question) != 1 {
			continue
		}
		if answer, err := n.answer(question).Pack(); err == nil {
			_, _ = n.pc.WriteTo(answer, from)
		}
	}
}

// answer has the records of the name and type. A name with none of any type
// does not exist.
func (n *nameServer) answer(question *dns.Msg) *dns.Msg {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails {
		return new(dns.Msg).SetRcode(question, dns.RcodeServerFailure)
	}
	answer, asked := new(dns.Msg).SetRcode(question, dns.RcodeNameError), question.Question[0]
	for _, rr := range n.records {
		if !strings.EqualFold(rr.Header().Name, asked.Name) {
			continue
		}
		answer.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == asked.Qtype {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	return answer
}

// wait makes a name server a player: it has no end that a case could want.
func (n *nameServer) wait() error { return fmt.Errorf("a name server has no script") }

func (n *nameServer) close() { n.pc.Close() }
