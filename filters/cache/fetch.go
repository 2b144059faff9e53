package cache

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/stream"
)

// miss gets a response that is not in the cache: by a fetch of its own, with
// others, or past the cache. again: look once more.
func (s *service) miss(ctx context.Context, q *question, now time.Time) (resp *stream.Response, err error, again bool) {
	a := &q.asked
	switch {
	case q.req.Method == "HEAD":
		resp, err = s.head(ctx, q)
		return resp, err, false
	case a.forOrigin, a.asker.NoStore:
		resp, err = s.pass(ctx, q.req, bypass, statusRequest)
		return resp, err, false
	case a.part && q.old == nil:
		// All of it may be very large, and this client wants a part.
		resp, err = s.pass(ctx, q.req, bypass, statusPartial)
		return resp, err, false
	}
	key := s.flightKey(q)
	if q.old == nil && s.shelf.marked(key, now) {
		resp, err = s.pass(ctx, q.req, uncacheable, statusBypass+suffixDetail+detailUncacheable)
		return resp, err, false
	}
	url := urlOf(&q.req.Target, q.query)
	f, lead := s.shelf.table.enter(key, url, &s.shelf.log, s.wait > 0, func() bool { return q.old != nil || s.shelf.guard.admit(now) })
	switch {
	case f == nil:
		resp, err = s.pass(ctx, q.req, guarded, statusBypass+suffixDetail+detailGuard)
		return resp, err, false
	case lead:
		resp, err = s.lead(ctx, q, f)
		return resp, err, false
	}
	return s.follow(ctx, q, f)
}

// flightKey tells fetches apart: by what is asked for, and by what kind of
// request asks.
func (s *service) flightKey(q *question) store.Key {
	var text [len(q.at) + 1]byte
	copy(text[:], q.at[:])
	text[len(q.at)] = q.asked.class()
	return sha256.Sum256(text[:])
}

// head sends a HEAD on, and forgets what is stored when the answer shows that it
// is another by now (RFC 9111 section 4.3.5).
func (s *service) head(ctx context.Context, q *question) (*stream.Response, error) {
	resp, err := s.pass(ctx, q.req, miss, q.missed())
	if err == nil && q.old != nil && resp.Status == 200 && !rule.SameContent(&resp.Header, &q.old.header, resp.Length, int64(len(q.old.body))) {
		s.shelf.forget(q.at)
	}
	return resp, err
}

// missed is Cache-Status of a request that goes to the upstream.
func (q *question) missed() string {
	switch {
	case q.old != nil:
		return statusStale
	case q.varies:
		return statusVaryMiss
	}
	return statusMiss
}

// expedition is a fetch under way: what lead knows until the response is the
// client's.
type expedition struct {
	*question
	flight  *flight
	ask     *stream.Request
	times   rule.Times
	cancel  context.CancelFunc
	settled bool
}

// lead fetches, for its own client and for all who wait. The exchange with the
// upstream has a request and a context of its own, because it goes on when this
// client leaves and others wait.
func (s *service) lead(ctx context.Context, q *question, f *flight) (*stream.Response, error) {
	x := &expedition{question: q, flight: f}
	defer func() { // also when something below panics: nobody waits for it then
		if !x.settled {
			s.alone(x)
		}
	}()
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	x.cancel = cancel
	f.board(cancel)
	stop := context.AfterFunc(ctx, f.leaderLeaves)
	defer stop()
	for {
		x.ask = s.fetching(q)
		x.times.Requested = time.Now()
		resp, err := s.next.Serve(own, x.ask)
		x.times.Received = time.Now()
		facts(&q.req.Exchange, &x.ask.Exchange)
		if err != nil {
			return s.failed(x, err)
		}
		if q.old != nil && resp.Status == 304 {
			if r := s.confirmed(x, resp); r != nil {
				return r, nil
			}
			q.old = nil // the 304 is about something else: ask without conditions
			continue
		}
		return s.fetched(ctx, x, resp)
	}
}

// alone ends a flight that brings nothing for those who wait.
func (s *service) alone(x *expedition) {
	x.settled = true
	s.shelf.table.remove(x.flight)
	x.flight.land(nil, nil, store.Key{}, nil)
	x.flight.settle(nil)
}

// shared ends a flight with an object that is whole.
func (s *service) shared(x *expedition, o *object, at store.Key, names []string) {
	x.settled = true
	s.shelf.table.remove(x.flight)
	x.flight.land(o, nil, at, names)
	x.flight.settle(o)
}

// fetching is the request that is sent for the cache: it asks for all of the
// response, or whether the stored one still holds, by what the key knows and
// nothing else of the query.
func (s *service) fetching(q *question) *stream.Request {
	ask := detached(q.req)
	ask.Interim = q.req.Interim
	if q.query != ask.Target.Query || q.query == "" && ask.Target.HasQuery {
		ask.Exchange.Received = q.req.Exchange.Received
		if ask.Exchange.Received == (stream.Target{}) {
			ask.Exchange.Received = ask.Target
		}
		ask.Target.Query, ask.Target.HasQuery = q.query, q.query != ""
	}
	if q.old != nil {
		rule.AskAbout(&ask.Header, &q.old.header)
	} else {
		rule.StripConditions(&ask.Header)
	}
	if q.slice.End > 0 {
		ask.Header.AddID(stream.Range, rule.AskFor(q.slice))
	}
	return ask
}

// detached is a request that outlives the one that it is made of.
func detached(req *stream.Request) *stream.Request {
	own := *req
	own.Header = req.Header.Clone()
	own.Body, own.Length, own.Interim = stream.NoBody, 0, nil
	own.Exchange = stream.Exchange{Start: req.Exchange.Start, HeadRead: req.Exchange.HeadRead, Route: req.Exchange.Route}
	return &own
}

// facts are what the stages behind noted in the request that was sent.
func facts(to, from *stream.Exchange) {
	to.Cluster, to.Endpoint, to.Attempts, to.Reused, to.RetryRefused = from.Cluster, from.Endpoint, from.Attempts, from.Reused, from.RetryRefused
	to.UpstreamStart, to.UpstreamHead, to.UpstreamEnd, to.UpstreamStatus = from.UpstreamStart, from.UpstreamHead, from.UpstreamEnd, from.UpstreamStatus
}

// failed is what becomes of a request that the upstream did not answer.
func (s *service) failed(x *expedition, err error) (*stream.Response, error) {
	x.cancel()
	x.req.Body.Close()
	now := time.Now()
	if o := x.old; o != nil && unanswered(stream.AsFault(err)) && o.terms.UsableOnError(o.age(now)) {
		s.shared(x, o, x.at, nil)
		return s.answerFor(x, o, now, staleError, statusStale+suffixDetail+detailStale), nil
	}
	if !x.background {
		s.counts.results[miss].Add(1)
	}
	return nil, err
}

// unanswered: the upstream is in trouble, or we are because of it. Not: the
// client is gone, or a policy says no.
func unanswered(f *stream.Fault) bool {
	switch f.Kind {
	case stream.NoEndpoint, stream.ClusterFull, stream.RequestTimeout:
		return true
	}
	return f.Origin() == stream.Upstream
}

// answerFor answers the client of the leader from an object.
func (s *service) answerFor(x *expedition, o *object, now time.Time, how result, status string) *stream.Response {
	if x.background {
		return nil
	}
	return s.answer(x.req, &x.asked, o, now, how, status)
}

// confirmed takes a 304 in; nil when it is not about what is stored (RFC 9111
// section 4.3.4).
func (s *service) confirmed(x *expedition, resp *stream.Response) *stream.Response {
	header := resp.Header.Clone()
	resp.Body.Close()
	if !rule.Confirms(&header, &x.old.header) {
		s.shelf.forget(x.at)
		return nil
	}
	x.cancel()
	x.req.Body.Close()
	fresh := rule.Freshen(&x.old.header, &header)
	if _, dated := header.GetID(stream.Date); !dated {
		fresh.SetID(stream.Date, rule.Date(x.times.Received))
	}
	terms, why := s.terms(x, &stream.Response{Status: x.old.status, Header: fresh, Length: int64(len(x.old.body))})
	o := &object{
		key: x.at, labels: x.old.labels, status: x.old.status, body: x.old.body, terms: terms, received: x.times.Received,
		header: keptHeader(&fresh, s.passTags, true, x.times.Received),
	}
	switch names := s.namesOf(x.primary); {
	case why != rule.Kept: // it says now that it is not for all
		s.refuse(x, why)
		s.shelf.forget(x.at)
		s.alone(x)
	default:
		s.shelf.put(x.primary, o, names, x.flight.since)
		s.shared(x, o, x.at, names)
	}
	if x.background {
		return &stream.Response{Status: 304, Body: stream.NoBody}
	}
	return s.answerFor(x, o, x.times.Received, revalidated, statusStale+suffixConfirmed)
}

// namesOf are the names by which the responses of a key vary.
func (s *service) namesOf(primary store.Key) []string {
	if r := s.shelf.record(primary); r != nil {
		return r.names
	}
	return nil
}

func (s *service) refuse(x *expedition, why rule.Refusal) {
	s.counts.refused[why].Add(1)
	s.shelf.mark(x.flight, why, x.times.Received)
}

// fetched takes a response in that is no confirmation.
func (s *service) fetched(ctx context.Context, x *expedition, resp *stream.Response) (*stream.Response, error) {
	if o := x.old; o != nil && rule.ServerError(resp.Status) {
		if now := x.times.Received; o.terms.UsableOnError(o.age(now)) {
			resp.Body.Close()
			x.cancel()
			x.req.Body.Close()
			s.shared(x, o, x.at, nil)
			return s.answerFor(x, o, now, staleError, statusStale+suffixStatus+threeDigits(resp.Status)+suffixDetail+detailStale), nil
		}
	}
	o, names, why := s.judge(x, resp)
	if why != rule.Kept {
		s.refuse(x, why)
		if x.old != nil && resp.Status < 500 {
			s.shelf.forget(x.at) // what is stored has been replaced by what is not to be
		}
		s.alone(x)
		return s.passOn(ctx, x, resp), nil
	}
	if content, ok := inMemory(resp, s.maxObject); ok {
		o.body = append(make([]byte, 0, len(content)), content...)
		drain(resp.Body)
		x.cancel()
		x.req.Body.Close()
		s.keep(x, o, names)
		s.shared(x, o, o.key, names)
		return s.answerFor(x, o, x.times.Received, miss, x.missed()+suffixStored), nil
	}
	return s.stream(ctx, x, o, names, resp)
}

// passOn gives the response to the client of the leader alone.
func (s *service) passOn(ctx context.Context, x *expedition, resp *stream.Response) *stream.Response {
	if x.background {
		resp.Body.Close()
		x.cancel()
		return nil
	}
	x.req.Body.Close()
	s.counts.results[miss].Add(1)
	s.tell(resp, x.missed())
	s.hideTags(resp)
	stop := context.AfterFunc(ctx, x.cancel)
	ended := sync.OnceFunc(func() {
		facts(&x.req.Exchange, &x.ask.Exchange)
		stop()
		x.cancel()
	})
	if _, tunnel := resp.Body.(stream.Duplex); !tunnel {
		resp.Body = &passed{Body: resp.Body, release: ended}
	}
	x.req.Exchange.Content = resp.Body // who recovers from a panic in front closes it
	return resp
}

// terms are those of a response; a slice is judged as all of it would be, once it
// is the part that was asked for.
func (s *service) terms(x *expedition, resp *stream.Response) (rule.Terms, rule.Refusal) {
	if x.slice.End == 0 {
		return rule.Judge(resp, x.asked.asker, x.times, &s.policy)
	}
	whole, ok := rule.AsWhole(resp, x.slice)
	if !ok {
		return rule.Terms{}, rule.OddPart
	}
	return rule.Judge(whole, x.asked.asker, x.times, &s.policy)
}

// judge says whether a response is stored; the object has no content yet.
func (s *service) judge(x *expedition, resp *stream.Response) (*object, []string, rule.Refusal) {
	terms, why := s.terms(x, resp)
	if why != rule.Kept {
		return nil, nil, why
	}
	if a, ok := resp.Body.(stream.Announcer); ok && a.Announced() != "" {
		return nil, nil, rule.Changed
	}
	if _, tunnel := resp.Body.(stream.Duplex); tunnel {
		return nil, nil, rule.OddStatus
	}
	if resp.Length > s.maxObject {
		return nil, nil, rule.TooLarge
	}
	tags, ok := rule.TagsOf(&resp.Header)
	if !ok {
		return nil, nil, rule.TagsAny
	}
	names, ok := rule.VaryOf(&resp.Header)
	record := s.shelf.record(x.primary)
	if ok && record != nil {
		names, ok = rule.Union(record.names, names)
	}
	if !ok {
		return nil, nil, rule.VaryAny
	}
	at := x.primary
	if len(names) > 0 {
		if at = variant(x.primary, names, &x.req.Header); !s.shelf.room(record, at, s.variants) {
			return nil, nil, rule.GuardedVariant
		}
	}
	_, dated := resp.Header.GetID(stream.Date)
	return &object{
		key: at, labels: labelsOf(x.flight.url, tags), status: resp.Status, terms: terms, received: x.times.Received,
		header: keptHeader(&resp.Header, s.passTags, dated, x.times.Received),
	}, names, rule.Kept
}

// keep stores a whole object.
func (s *service) keep(x *expedition, o *object, names []string) {
	s.counts.fetched.Add(int64(len(o.body)))
	if s.shelf.put(x.primary, o, names, x.flight.since) {
		s.counts.stored.Add(1)
	} else {
		s.counts.refused[rule.Purged].Add(1)
	}
}

// inMemory is content that came with the head.
func inMemory(resp *stream.Response, most int64) ([]byte, bool) {
	if resp.Length == 0 {
		return nil, true
	}
	whole, ok := resp.Body.(stream.Whole)
	if !ok {
		return nil, false
	}
	content, ok := whole.Bytes()
	return content, ok && int64(len(content)) <= most && (resp.Length < 0 || resp.Length == int64(len(content)))
}

// drain reads a body that is in memory to its end, so that its connection can
// be used again.
func drain(body stream.Body) {
	var page [4 << 10]byte
	for {
		if _, err := body.Read(page[:]); err != nil {
			break
		}
	}
	body.Close()
}

// stream gives the content to the client, and to those who wait, as it comes,
// and stores it when it is whole.
func (s *service) stream(ctx context.Context, x *expedition, o *object, names []string, resp *stream.Response) (*stream.Response, error) {
	if resp.Length > 0 && !s.shelf.budget.take(resp.Length) {
		s.refuse(x, rule.NoRoom)
		s.alone(x)
		return s.passOn(ctx, x, resp), nil
	}
	f := x.flight
	filled := newFill(resp.Body, resp.Length, s.maxObject, &s.shelf.budget, x.cancel, func(content []byte, ok bool) {
		var whole *object
		if ok {
			whole = o.with(content)
			s.keep(x, whole, names)
		} else {
			s.counts.refused[rule.BrokeOff].Add(1)
		}
		s.shelf.table.remove(f)
		f.settle(whole)
	})
	x.settled = true
	f.land(o, filled, o.key, names)
	x.req.Body.Close()
	r := s.reader(ctx, filled, filled.leave)
	r.onEnd = func() { facts(&x.req.Exchange, &x.ask.Exchange) }
	if x.background {
		r.onEnd = nil
		return &stream.Response{Status: o.status, Body: r, Length: resp.Length}, nil
	}
	s.counts.results[miss].Add(1)
	x.req.Exchange.Content = r
	return s.streamed(x.question, o, r, resp.Length, x.missed()+suffixStored), nil
}

// reader is a place in a fill, which ends with the client.
func (s *service) reader(ctx context.Context, filled *fill, leave func()) *reader {
	once := sync.OnceFunc(leave)
	stop := context.AfterFunc(ctx, once)
	return &reader{fill: filled, ctx: ctx, leave: func() { stop(); once() }}
}

// streamed is a response whose content is on its way.
func (s *service) streamed(q *question, o *object, r *reader, length int64, status string) *stream.Response {
	resp := &stream.Response{Status: o.status, Header: o.header.Clone(), Body: r, Length: length}
	if age := int64(o.terms.InitialAge / time.Second); age > 0 {
		resp.Header.AddID(stream.Age, o.textsAt(o.terms.InitialAge).age)
	}
	s.tell(resp, status)
	return resp
}

func threeDigits(status int) string {
	return string([]byte{byte('0' + status/100%10), byte('0' + status/10%10), byte('0' + status%10)})
}
