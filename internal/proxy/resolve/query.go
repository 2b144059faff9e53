package resolve

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/miekg/dns"

	"github.com/weirproxy/weir/stream"
)

// found is the records that a question had, and for how many seconds.
type found struct {
	records []dns.RR
	ttl     uint32
}

// query asks for the records of one type, following aliases. It is the recover
// boundary: what servers send is parsed below it.
func (r *Resolver) query(ctx context.Context, p *plan, name string, qtype uint16) (result found, err error) {
	question := dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}
	defer func() {
		if x := recover(); x != nil {
			r.Stats.Panics.Add(1)
			r.log.Error("an answer of a name server made a panic", "question", text(question), "panic", x, "stack", string(debug.Stack()))
			err = r.failed(Malformed, "", question, fmt.Errorf("panic: %v", x))
		}
	}()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return found{}, r.failed(NoAnswer, "", question, ctx.Err())
	}
	result.ttl = ^uint32(0)
	for hop := 0; ; {
		answer, server, err := r.anyServer(ctx, p, question)
		if err != nil {
			return found{}, err
		}
		target, hops := follow(answer, question, &result)
		if len(result.records) > 0 {
			r.Stats.Answers.Add(1)
			return result, nil
		}
		hop += hops
		// Without a SOA the server has not said that the target of the alias has
		// no such record; mostly it did not know the target.
		if hops == 0 || answer.Rcode == dns.RcodeNameError || hasSOA(answer) {
			return found{}, r.failed(NotFound, server, question, nil)
		}
		if hop >= maxChain {
			return found{}, r.failed(Malformed, server, question, fmt.Errorf("more than %d aliases, up to %s", maxChain, target))
		}
		question.Name = target
	}
}

// anyServer asks one server after the other. Only an answer that says
// something about the name ends it.
func (r *Resolver) anyServer(ctx context.Context, p *plan, question dns.Question) (*dns.Msg, string, error) {
	var last error
	for range p.attempts {
		for _, server := range p.servers {
			once, cancel := context.WithTimeout(ctx, p.timeout)
			answer, err := r.exchange(once, server, question)
			cancel()
			switch {
			case err != nil:
				last = err
			case answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError:
				return answer, server, nil
			default:
				last = r.failed(ServerError, server, question, fmt.Errorf("it says %s", rcode(answer.Rcode)))
			}
			if ctx.Err() != nil {
				return nil, "", last
			}
		}
	}
	return nil, "", last
}

func rcode(code int) string {
	if name := dns.RcodeToString[code]; name != "" {
		return name
	}
	return fmt.Sprintf("code %d", code)
}

// follow takes the records that answer the question out of a message: those of
// the name itself, or of what it is an alias for. Everything else in it is
// ignored. It returns the last alias and how many there were.
func follow(answer *dns.Msg, question dns.Question, result *found) (name string, hops int) {
	name = question.Name
	for ; hops <= maxChain; hops++ {
		var alias *dns.CNAME
		for _, rr := range answer.Answer {
			if rr == nil { // of a message that was cut
				continue
			}
			h := rr.Header()
			if h.Class != dns.ClassINET || !stream.EqualFold(h.Name, name) {
				continue
			}
			if h.Rrtype == question.Qtype {
				result.records = append(result.records, rr)
				result.ttl = min(result.ttl, h.Ttl)
			} else if c, ok := rr.(*dns.CNAME); ok && alias == nil {
				alias = c
			}
		}
		if len(result.records) > 0 || alias == nil {
			return name, hops
		}
		name = alias.Target
		result.ttl = min(result.ttl, alias.Hdr.Ttl)
	}
	return name, hops
}

func hasSOA(answer *dns.Msg) bool {
	for _, rr := range answer.Ns {
		if _, ok := rr.(*dns.SOA); ok {
			return true
		}
	}
	return false
}
