package mirror

import (
	"strings"
	"sync"
	"time"

	"github.com/weirproxy/weir/stream"
)

// pair is the two responses to one request. Whichever is complete last has them
// compared, never on the goroutine of the client.
type pair struct {
	comparer         *comparer
	method, path, id string
	call             bool // of gRPC: its status is compared, and no content

	mu              sync.Mutex
	primary, shadow *facts      // nil: not complete
	tee             *tee        // of the body of the primary's
	timer           *time.Timer // for the primary's; nil while the shadow's is not complete
	over            bool
}

// facts are what is compared of a response. The one who gets it last frees its
// body.
type facts struct {
	missing     missing // why there is nothing to compare, or nothing
	status      int
	call        int      // status of a call of gRPC; noStatus: none, or it is no call
	headers     []string // values of the chosen fields
	has         []bool   // whether they are there
	body        stock
	bodyMissing missing // why the body cannot be compared
}

// noStatus stands where there is no status of gRPC.
const noStatus = -1

// callOf is the status of gRPC that a header or trailer has.
func callOf(h *stream.Header) int {
	if code, ok := stream.GRPCStatus(h); ok {
		return int(code)
	}
	return noStatus
}

// missing is why something cannot be compared.
type missing uint8

const (
	nothing missing = iota // it can
	primaryFailed
	primaryLate // its client reads slowly, or it goes on and on
	shadowFailed
	notCopied
	noBudget
	tooLong
	incomplete
	coded
	notJSON
	numMissing
)

var missingNames = [numMissing]string{
	primaryFailed: "primary_failed", primaryLate: "primary_late", shadowFailed: "shadow_failed", notCopied: "not_copied",
	noBudget: "over_budget", tooLong: "body_too_large", incomplete: "body_incomplete", coded: "content_coding", notJSON: "not_json",
}

// missing is why content was not kept.
func (v verdict) missing() missing {
	switch v {
	case tooLarge:
		return tooLong
	case tooDear:
		return noBudget
	}
	return nothing
}

// missing is why a tee has no content.
func (r reason) missing() missing {
	switch r {
	case none:
		return nothing
	case bodyTooLarge:
		return tooLong
	case overBytes:
		return noBudget
	}
	return incomplete
}

// maxShown bounds what of a path is kept.
const maxShown = 200

func (c *comparer) pair(req *stream.Request) *pair {
	path := req.Target.Path
	if len(path) > maxShown {
		path = path[:maxShown] + "..."
	}
	return &pair{comparer: c, method: req.Method, path: strings.Clone(path), id: strings.Clone(req.ID), call: req.GRPC == stream.GRPCCall}
}

// factsOf are what is compared of resp before its body is read, and whether the
// body is wanted.
func (p *pair) factsOf(resp *stream.Response) (a facts, wanted bool) {
	c := p.comparer
	a = facts{status: resp.Status, call: noStatus, headers: make([]string, len(c.headers)), has: make([]bool, len(c.headers))}
	for i, name := range c.headers {
		values := resp.Header.Values(nil, name)
		a.headers[i], a.has[i] = strings.Clone(strings.Join(values, ", ")), len(values) > 0
	}
	if p.call {
		a.call = callOf(&resp.Header)
		return a, false
	}
	switch _, tunnel := resp.Body.(stream.Duplex); {
	case !c.json, p.method == "HEAD", resp.Status == 204, resp.Status == 304, resp.Length == 0:
		return a, false
	case tunnel:
		a.bodyMissing = notJSON
		return a, false
	case isCoded(&resp.Header):
		a.bodyMissing = coded
		return a, false
	}
	contentType, _ := resp.Header.GetID(stream.ContentType)
	if !isJSON(mediaOf(contentType)) {
		a.bodyMissing = notJSON
		return a, false
	}
	return a, true
}

// watch takes the response that the client gets, nil when there is none; what
// is compared of its body is kept while it passes.
func (p *pair) watch(resp *stream.Response) {
	if resp == nil {
		p.settle(&p.primary, facts{missing: primaryFailed})
		return
	}
	a, wanted := p.factsOf(resp)
	if p.call && a.call == noStatus && resp.Status == 200 {
		resp.Body = &messages{Body: resp.Body, pair: p, facts: a}
		return
	}
	if !wanted {
		p.settle(&p.primary, a)
		return
	}
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over { // the shadow has failed already: nothing need be kept
		return
	}
	t := newTee(resp.Body, resp.Length, p.comparer.maxBody, p.comparer.budget, func(content stock, why reason) {
		a.body, a.bodyMissing = content, why.missing()
		p.settle(&p.primary, a)
	})
	p.mu.Lock()
	p.tee = t
	over = p.over
	p.mu.Unlock()
	resp.Body = t
	if over {
		t.finish(bodyIncomplete)
	}
}

// settle notes the facts of a response, once for each side.
func (p *pair) settle(side **facts, a facts) {
	p.mu.Lock()
	if p.over || *side != nil {
		p.mu.Unlock()
		a.body.free()
		return
	}
	*side = &a
	switch {
	case a.missing != nothing: // the other side need not be waited for
		p.conclude(a.missing)
		return
	case p.shadow == nil: // it has a timeout
		p.mu.Unlock()
		return
	case p.primary == nil:
		p.timer = time.AfterFunc(p.comparer.patience, p.late)
		p.mu.Unlock()
		return
	}
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if side == &p.primary {
		p.comparer.later(p)
	} else {
		p.comparer.judge(p)
	}
}

// late gives up waiting for the primary.
func (p *pair) late() {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.conclude(primaryLate)
}

// conclude ends the pair without a comparison. It is called with mu held and
// gives it back.
func (p *pair) conclude(why missing) {
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	t := p.tee
	p.mu.Unlock()
	p.free()
	if t != nil {
		t.finish(bodyIncomplete)
	}
	p.comparer.uncomparable(why)
}

// free gives up the bodies of a pair that is over.
func (p *pair) free() {
	for _, a := range []*facts{p.primary, p.shadow} {
		if a != nil {
			a.body.free()
		}
	}
}
