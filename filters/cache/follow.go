package cache

import (
	"context"
	"time"

	"github.com/weirproxy/weir/stream"
)

// follow waits for what another fetches, for no longer than the document says
// and the client stays. again: it was the response to another question.
func (s *service) follow(ctx context.Context, q *question, f *flight) (resp *stream.Response, err error, again bool) {
	patience := time.NewTimer(s.wait)
	defer patience.Stop()
	select {
	case <-f.ready:
	case <-ctx.Done():
		f.leave()
		q.req.Body.Close()
		return nil, &stream.Fault{Kind: stream.ClientGone}, false
	case <-patience.C:
		f.leave()
		resp, err = s.pass(ctx, q.req, miss, q.missed())
		return resp, err, false
	}
	switch {
	case f.object == nil, !f.object.terms.Lets(q.asked.asker):
		f.leave()
		resp, err = s.pass(ctx, q.req, uncacheable, q.missed())
		return resp, err, false
	case len(f.names) > 0 && variant(q.primary, f.names, &q.req.Header) != f.at:
		f.leave()
		return nil, nil, true
	case f.filled == nil:
		return s.joined(q, f.object), nil, false
	case f.filled.length >= 0 && !q.asked.conditions:
		q.req.Body.Close()
		s.counts.results[coalesced].Add(1)
		if !q.asked.slice {
			s.counts.served.Add(f.filled.length)
		}
		return s.streamed(q, f.object, s.reader(ctx, f.filled, f.leave), f.filled.length, q.missed()+suffixCollapsed), nil, false
	}
	return s.watch(ctx, q, f)
}

// watch waits until the content is whole: as long as its length is not known it
// may turn out too large to be shared.
func (s *service) watch(ctx context.Context, q *question, f *flight) (resp *stream.Response, err error, again bool) {
	defer f.leave()
	waiting, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	ok, fault := f.filled.watch(waiting)
	if fault != nil && ctx.Err() != nil {
		q.req.Body.Close()
		return nil, fault, false
	}
	if ok {
		<-f.done // who read the end is storing it
	}
	if !ok || f.whole == nil {
		resp, err = s.pass(ctx, q.req, uncacheable, q.missed())
		return resp, err, false
	}
	return s.joined(q, f.whole), nil, false
}

// joined answers with what another has fetched.
func (s *service) joined(q *question, o *object) *stream.Response {
	q.req.Body.Close()
	return s.answer(q.req, &q.asked, o, time.Now(), coalesced, q.missed()+suffixCollapsed)
}
