package mirror

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/weirproxy/weir/stream"
)

// shadowed is the copy of one request. It leaves when two things have happened:
// the body has been read by whoever reads it, and the primary has answered,
// because only then the target is that which the primary got (rewrite of the
// route stands behind all filters).
type shadowed struct {
	service *service
	req     stream.Request
	form    form
	tee     *tee  // of the request body; nil: there is none
	pair    *pair // nil: its response is not compared

	mu      sync.Mutex
	content stock
	whole   bool // content is all of it
	passed  bool // the primary has answered
}

// newCopy begins the copy of req.
func (s *service) newCopy(req *stream.Request) *shadowed {
	c := &shadowed{service: s, form: formOf(&req.Header)}
	conn := *req.Conn
	conn.TLS = nil // the identity of the client is not the shadow's to know
	c.req = stream.Request{
		Method: req.Method, Proto: req.Proto, Header: s.header.of(&req.Header),
		Body: stream.NoBody, Conn: &conn, Client: req.Client, ID: req.ID, GRPC: req.GRPC,
	}
	if s.hiding.bodies() {
		dropDigests(&c.req.Header)
	}
	if s.compare != nil && s.compare.drawn() {
		c.pair = s.compare.pair(req)
	}
	if req.Length == 0 {
		c.whole = true
		return c
	}
	c.tee = newTee(req.Body, req.Length, s.maxBody, s.budget, c.read)
	req.Body = c.tee
	return c
}

// read takes the body, or why there is none.
func (c *shadowed) read(content stock, why reason) {
	if why != none {
		c.giveUp(content, why)
		return
	}
	c.mu.Lock()
	c.content, c.whole = content, true
	passed := c.passed
	c.mu.Unlock()
	if passed {
		c.send()
	}
}

// pass says that the primary got target, and resp (nil: a fault) came of it.
func (c *shadowed) pass(target stream.Target, resp *stream.Response) {
	if c.pair != nil {
		c.pair.watch(resp)
	}
	c.mu.Lock()
	c.req.Target = c.service.target(target)
	c.passed = true
	whole := c.whole
	c.mu.Unlock()
	if whole {
		c.send()
	}
}

func (s *service) target(t stream.Target) stream.Target {
	t = s.hiding.target(t)
	if s.host != nil {
		t.Host, t.Port = s.host.host, s.host.port
	}
	return t
}

// dropDigests removes hashes over a body that may be another one in the copy.
func dropDigests(h *stream.Header) {
	for _, name := range []string{"Content-Digest", "Repr-Digest", "Digest", "Content-MD5"} {
		h.Del(name)
	}
}

// abandon gives the copy up: a stage behind this filter panicked, and nobody is
// left to read the body.
func (c *shadowed) abandon() {
	if c.tee != nil {
		c.tee.finish(bodyIncomplete)
	}
	c.mu.Lock()
	whole := c.whole
	c.whole = false
	c.mu.Unlock()
	if whole {
		c.giveUp(c.content, noAnswer)
	}
}

// send starts the copy, if the budget has a place for it. It never waits.
func (c *shadowed) send() {
	s := c.service
	if !s.budget.enter() {
		c.giveUp(c.content, overConcurrent)
		return
	}
	s.env.Go(func() {
		defer s.budget.leave()
		c.run()
	})
}

func (c *shadowed) giveUp(content stock, why reason) {
	content.free()
	c.service.counts.uncopied[why].Add(1)
	if c.pair != nil {
		c.pair.settle(&c.pair.shadow, facts{missing: notCopied})
	}
}

// run is the goroutine of the copy.
func (c *shadowed) run() {
	defer c.content.free()
	s := c.service
	hidden, err := s.hiding.body(c.content.bytes, c.form)
	if err != nil {
		s.env.Log.Debug("a request is not mirrored, since nothing could be hidden in its body", "id", c.req.ID, "err", err)
		c.giveUp(stock{}, unredactable)
		return
	}
	if len(hidden) > 0 {
		c.req.Body, c.req.Length = stream.BytesBody(hidden), int64(len(hidden))
	}
	ctx, cancel := context.WithTimeout(s.env.Context, s.timeout)
	defer cancel()
	got := facts{missing: shadowFailed}
	became := failed
	c.req.Exchange.Start = time.Now()
	c.req.Exchange.HeadRead = c.req.Exchange.Start
	defer func() { // also when something panics
		c.note(became)
		if c.pair != nil {
			c.pair.settle(&c.pair.shadow, got)
		}
	}()
	resp, err := s.shadow.Serve(ctx, &c.req)
	if err == nil {
		got, err = c.drain(resp)
	}
	became = outcomeOf(ctx, s.env.Context, err)
	if err != nil {
		c.req.Exchange.Fault = stream.AsFault(err)
	}
}

// note counts the copy and writes its line.
func (c *shadowed) note(became outcome) {
	s := c.service
	s.counts.copies[became].Add(1)
	if !s.log {
		return
	}
	x := &c.req.Exchange
	x.Route, x.End, x.Copy = s.env.Route, time.Now(), outcomeNames[became]
	s.env.Line(&c.req)
}

// outcomeOf says how a copy ended.
func outcomeOf(ctx, house context.Context, err error) outcome {
	switch {
	case err == nil:
		return answered
	case house.Err() != nil:
		return ended
	case ctx.Err() != nil, stream.AsFault(err).Kind == stream.RequestTimeout:
		return timedOut
	}
	return failed
}

// drains are buffers for what nobody wants to have.
var drains = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// drain reads the response of the shadow to its end, as a client would, and
// keeps what is compared.
func (c *shadowed) drain(resp *stream.Response) (facts, error) {
	defer resp.Body.Close()
	x := &c.req.Exchange
	x.Status, x.HeadSent, x.BytesIn = resp.Status, time.Now(), c.req.Length
	x.SetGRPCStatus(&resp.Header)
	var got facts
	keeps := false
	if c.pair != nil {
		got, keeps = c.pair.factsOf(resp)
	}
	if _, tunnel := resp.Body.(stream.Duplex); tunnel { // nobody asked for one
		return got, nil
	}
	room := drains.Get().(*[16 << 10]byte)
	defer drains.Put(room)
	content := stock{budget: c.service.budget}
	defer func() { content.free() }()
	for {
		n, err := resp.Body.Read(room[:])
		x.BytesOut += int64(n)
		if keeps && n > 0 {
			if v := content.add(room[:n], c.pair.comparer.maxBody); v != kept {
				content.free()
				keeps, got.bodyMissing = false, v.missing()
			}
		}
		switch {
		case err == io.EOF:
			x.SetGRPCStatus(resp.Body.Trailer())
			if c.pair != nil && c.pair.call && got.call == noStatus {
				got.call = callOf(resp.Body.Trailer())
			}
			got.body, content = content, stock{}
			return got, nil
		case err != nil:
			return facts{missing: shadowFailed}, err
		}
	}
}
