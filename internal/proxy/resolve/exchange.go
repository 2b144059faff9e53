package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"

	"github.com/weirproxy/weir/stream"
)

// udpSize is the size of an answer that is not cut into fragments on its way
// (DNS flag day 2020).
const udpSize = 1232

// maxStrange bounds the packets that are looked at for one question: whoever
// guesses ids sends many.
const maxStrange = 64

// exchange asks one server once, over UDP, and over TCP when the answer did
// not fit. A *lookupError says why there is none.
func (r *Resolver) exchange(ctx context.Context, server string, question dns.Question) (*dns.Msg, error) {
	answer, err := r.over(ctx, "udp", server, question, true)
	if err == nil && answer.Rcode == dns.RcodeFormatError {
		answer, err = r.over(ctx, "udp", server, question, false) // a server from before EDNS
	}
	if err == nil && answer.Truncated {
		r.Stats.Truncated.Add(1)
		answer, err = r.over(ctx, "tcp", server, question, true)
	}
	return answer, err
}

func (r *Resolver) over(ctx context.Context, network, server string, question dns.Question, edns bool) (*dns.Msg, error) {
	r.Stats.Questions.Add(1)
	ask := &dns.Msg{Question: []dns.Question{question}}
	ask.Id, ask.RecursionDesired = dns.Id(), true // from crypto/rand
	if edns {
		ask.SetEdns0(udpSize, false)
	}
	packed, err := ask.Pack()
	if err != nil {
		return nil, r.failed(Malformed, server, question, err)
	}
	nc, err := r.dial(ctx, network, server)
	if err != nil {
		return nil, r.failed(failureOf(ctx, err, Unreachable), server, question, err)
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var answer *dns.Msg
	if network == "tcp" {
		answer, err = overTCP(nc, packed, ask)
	} else {
		answer, err = r.overUDP(nc, packed, ask)
	}
	if err != nil {
		kind := Unreachable
		var bad *badAnswer
		if errors.As(err, &bad) {
			kind = Malformed
		}
		return nil, r.failed(failureOf(ctx, err, kind), server, question, err)
	}
	return answer, nil
}

func failureOf(ctx context.Context, err error, otherwise Failure) Failure {
	var timeout net.Error
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		return NoAnswer
	}
	return otherwise
}

func (r *Resolver) failed(f Failure, server string, question dns.Question, cause error) *lookupError {
	r.Stats.Failed[f].Add(1)
	return &lookupError{failure: f, what: text(question), server: server, cause: cause}
}

func text(q dns.Question) string {
	return fmt.Sprintf("%s records of %s", dns.TypeToString[q.Qtype], q.Name)
}

// overUDP waits for the packet that answers. Packets of others do not end the
// wait: then anyone who sends noise could.
func (r *Resolver) overUDP(nc net.Conn, packed []byte, ask *dns.Msg) (*dns.Msg, error) {
	if _, err := nc.Write(packed); err != nil {
		return nil, err
	}
	packet := make([]byte, 4096)
	for range maxStrange {
		n, err := nc.Read(packet)
		if err != nil {
			return nil, err
		}
		answer, err := parse(packet[:n], ask)
		if errors.Is(err, errStrange) {
			r.Stats.Strange.Add(1)
			continue
		}
		return answer, err
	}
	return nil, &badAnswer{fmt.Errorf("%d packets that do not belong to the question", maxStrange)}
}

// overTCP has a length before each message (RFC 1035 section 4.2.2).
func overTCP(nc net.Conn, packed []byte, ask *dns.Msg) (*dns.Msg, error) {
	if _, err := nc.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(nc, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(nc, message); err != nil {
		return nil, err
	}
	answer, err := parse(message, ask)
	if err == nil && answer.Truncated {
		err = &badAnswer{errors.New("it is cut off over TCP")}
	}
	return answer, err
}

// badAnswer is a message of the server that is no answer.
type badAnswer struct{ why error }

func (b *badAnswer) Error() string { return "bad answer: " + b.why.Error() }

// errStrange is a packet that someone else may have sent.
var errStrange = errors.New("not an answer to the question")

// parse checks that a message answers the question asked: the id, the
// direction, and the question itself.
func parse(message []byte, ask *dns.Msg) (*dns.Msg, error) {
	if len(message) < 12 || binary.BigEndian.Uint16(message) != ask.Id {
		return nil, errStrange
	}
	answer := new(dns.Msg)
	err := answer.Unpack(message)
	// A cut message may end anywhere; only its header counts.
	if err != nil && (!answer.Truncated || len(answer.Question) != 1) {
		return nil, &badAnswer{err}
	}
	if !answer.Response || answer.Opcode != dns.OpcodeQuery {
		return nil, errStrange
	}
	if len(answer.Question) == 0 && (answer.Rcode == dns.RcodeFormatError || answer.Rcode == dns.RcodeServerFailure) {
		return answer, nil // such servers need not repeat the question
	}
	want := ask.Question[0]
	if len(answer.Question) != 1 || answer.Question[0].Qtype != want.Qtype || answer.Question[0].Qclass != want.Qclass ||
		!stream.EqualFold(answer.Question[0].Name, want.Name) {
		return nil, errStrange
	}
	return answer, nil
}
