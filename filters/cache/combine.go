package cache

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// combination is a range that is put together of slices. Each slice is stored, shared
// and asked about like a response of its own; here they meet (RFC 9111 section
// 3.4). It is the body of the response, and fetches a slice when the one in front
// has been read: a client that leaves costs no more than the slice it is in.
type combination struct {
	service *service
	ctx     context.Context    // of the client
	own     context.Context    // of what is fetched: that may go on
	stop    func() bool        // the end of ctx is not that of own any more
	cancel  context.CancelFunc // nil: what is fetched goes on
	req     *stream.Request
	asked   asked
	query   string
	primary store.Key

	tag    string // that all slices have
	length int64  // of all content
	at     int64  // the next byte for the client
	end    int64
	slice  rule.Part
	sub    *stream.Request // that asked for slice
	body   stream.Body     // of slice; nil between two
	skip   int64           // bytes of body in front of at
}

// combine answers a range of what is not stored from slices. done is false when
// it is none for slices: the request goes on as it is.
func (s *service) combine(ctx context.Context, req *stream.Request, a *asked, query string, primary store.Key) (resp *stream.Response, err error, done bool) {
	conditions := rule.ConditionsOf(&req.Header)
	start, ok := rule.StartOf(conditions.Range)
	if !ok || req.Method != "GET" || a.forOrigin || a.asker.NoStore || a.wish.OnlyIfCached {
		return nil, nil, false
	}
	if o, _, _ := s.shelf.find(primary, &req.Header); o != nil || s.shelf.marked(unsliced(primary), time.Now()) {
		return nil, nil, false
	}
	c := &combination{service: s, ctx: ctx, req: req, asked: *a, query: query, primary: primary}
	c.own, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.stop = context.AfterFunc(ctx, c.cancel)
	c.asked.conditions, c.asked.part, c.asked.slice = false, false, true
	resp, err = c.get(start / s.slice)
	if err != nil {
		req.Body.Close()
		c.release()
		return nil, err, true
	}
	if resp.Status != 206 { // also all of it, of an upstream that knows no ranges: a client takes that
		if resp.Status == 200 {
			c.giveUp()
		}
		req.Body.Close()
		resp.Body = &passed{Body: resp.Body, release: c.release}
		return resp, nil, true
	}
	if !c.begin(resp) || !conditions.RangeHolds(&resp.Header) {
		c.quit()
		return nil, nil, false
	}
	req.Body.Close()
	if conditions.NotModified(200, &resp.Header) {
		c.quit()
		confirm(resp)
		return resp, nil, true
	}
	c.answer(resp, conditions.Range)
	return resp, nil, true
}

// begin takes the first slice as what all others are compared with.
func (c *combination) begin(first *stream.Response) bool {
	length, tag, ok := rule.PartOf(first, c.slice)
	if !ok {
		c.giveUp()
	}
	c.length, c.tag, c.body = length, tag, first.Body
	return ok
}

// answer makes the response to the client of that to the first slice.
func (c *combination) answer(resp *stream.Response, field string) {
	resp.Header.DelFunc(func(f *stream.Field) bool { return f.ID == stream.ContentRange })
	total := strconv.FormatInt(c.length, 10)
	part, wanted := rule.RangeOf(field, c.length)
	if wanted != rule.OnePart { // it begins behind the end
		c.quit()
		resp.Status, resp.Length, resp.Body = 416, 0, stream.NoBody
		resp.Header.DelFunc(func(f *stream.Field) bool { return describesContent(f.ID) })
		resp.Header.AddID(stream.ContentRange, "bytes */"+total)
		return
	}
	resp.Length = part.End - part.Start
	resp.Header.AddID(stream.ContentRange, "bytes "+strconv.FormatInt(part.Start, 10)+"-"+strconv.FormatInt(part.End-1, 10)+"/"+total)
	c.at, c.end, c.skip = part.Start, part.End, part.Start-c.slice.Start
	if stored, ok := c.body.(*content); ok && part.End <= c.slice.End {
		stored.rest = stored.rest[c.skip : part.End-c.slice.Start] // it leaves as any hit does
		c.service.counts.served.Add(resp.Length)
		c.release()
		return
	}
	resp.Body = c
	c.req.Exchange.Content = c // who recovers from a panic in front closes it
}

// get is the response to the n-th slice.
func (c *combination) get(n int64) (*stream.Response, error) {
	s := c.service
	c.slice = rule.Part{Start: n * s.slice, End: (n + 1) * s.slice}
	c.sub = detached(c.req)
	rule.StripConditions(&c.sub.Header)
	c.sub.Header.AddID(stream.Range, rule.AskFor(c.slice))
	resp, err := s.look(c.own, &question{req: c.sub, asked: c.asked, query: c.query, primary: sliceOf(c.primary, c.slice), slice: c.slice})
	c.note()
	return resp, err
}

// note has the exchange of the client tell of the fetch for the slice.
func (c *combination) note() {
	if c.sub != nil && c.sub.Exchange.Cluster != (stream.Label{}) {
		facts(&c.req.Exchange, &c.sub.Exchange)
	}
}

// Read implements io.Reader.
func (c *combination) Read(p []byte) (int, error) {
	for c.at < c.end {
		if c.body == nil {
			if err := c.next(); err != nil {
				return 0, err
			}
		}
		want := p[:min(int64(len(p)), min(c.end, c.slice.End)-c.at)]
		if c.skip > 0 {
			want = p[:min(int64(len(p)), c.skip)]
		}
		n, err := c.body.Read(want)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if c.skip > 0 {
			c.skip -= int64(n)
			n = 0
		}
		if _, stored := c.body.(*content); stored {
			c.service.counts.served.Add(int64(n))
		}
		c.at += int64(n)
		switch {
		case err == io.EOF && (c.skip > 0 || c.at < min(c.end, c.slice.End)):
			return n, c.differ("a slice is shorter than it says")
		case c.at == c.end:
			c.finish()
		case c.at == c.slice.End:
			c.drop()
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// next fetches the slice that at is in, which has to be one of the same content.
func (c *combination) next() error {
	resp, err := c.get(c.at / c.service.slice)
	if err != nil {
		return err
	}
	c.body = resp.Body
	if length, tag, ok := rule.PartOf(resp, c.slice); !ok || tag != c.tag || length != c.length {
		return c.differ("a slice is of another version of the content")
	}
	return nil
}

// differ ends a response whose slices do not belong together. They are all
// forgotten: which ones are of today, nobody knows.
func (c *combination) differ(why string) error {
	c.drop()
	c.service.counts.refused[rule.OddPart].Add(1)
	c.service.forget(store.Purge{URL: urlOf(&c.req.Target, c.query)})
	c.giveUp()
	return stream.Faultf(stream.ResponseTruncated, stream.RetryNever, "cache: %s", why)
}

// giveUp lets ranges of this content pass by the cache for a while.
func (c *combination) giveUp() {
	url := urlOf(&c.req.Target, c.query)
	c.service.shelf.memory.Put(&object{
		key: unsliced(c.primary), kind: marker, labels: []string{store.URLLabel(url)}, until: time.Now().Add(markFor),
	})
}

// unsliced is the key of the mark that some content is not for slices.
func unsliced(primary store.Key) store.Key { return sliceOf(primary, rule.Part{}) }

// finish ends a response that is whole. What is left of its last slice is read in
// the background, or the next client would find nothing of it.
func (c *combination) finish() {
	s, rest := c.service, c.body
	if _, filling := rest.(*reader); !filling || c.at == c.slice.End || !s.shelf.takeBackground(s.background) {
		c.drop()
		return
	}
	c.note()
	c.stop()
	cancel := c.cancel
	c.body, c.cancel = nil, nil
	s.env.Go(func() {
		defer s.shelf.background.Add(-1)
		defer cancel()
		ended := context.AfterFunc(s.env.Context, cancel)
		defer ended()
		_, _ = io.Copy(io.Discard, rest)
		rest.Close()
	})
}

func (c *combination) drop() {
	if c.body != nil {
		c.note()
		c.body.Close()
		c.body = nil
	}
}

// Close implements io.Closer.
func (c *combination) Close() error {
	c.quit()
	return nil
}

// quit ends the combination where it stands.
func (c *combination) quit() {
	c.drop()
	c.at = c.end
	c.release()
}

// release ends what is bound to the client, and what was fetched for it unless
// that goes on.
func (c *combination) release() {
	c.stop()
	if c.cancel != nil {
		c.cancel()
	}
}

// Trailer implements stream.Body.
func (c *combination) Trailer() *stream.Header { return nil }
