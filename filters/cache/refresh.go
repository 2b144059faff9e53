package cache

import (
	"io"

	"github.com/weirproxy/weir/filters/cache/store"
)

// refresh has a stored response fetched anew, unless that is under way already
// or many others are (RFC 5861 section 3). It does not wait.
func (s *service) refresh(asking *question, at store.Key, o *object) {
	if !s.shelf.takeBackground(s.background) {
		return
	}
	own := *asking
	q := &own
	q.at, q.old, q.background = at, o, true
	f, lead := s.shelf.table.enter(s.flightKey(q), urlOf(&q.req.Target, q.query), &s.shelf.log, true, func() bool { return true })
	if !lead {
		if f != nil {
			f.leave()
		}
		s.shelf.background.Add(-1)
		return
	}
	q.req = detached(q.req) // the request ends before the fetch does
	s.counts.refreshes.Add(1)
	s.env.Go(func() {
		defer s.shelf.background.Add(-1)
		resp, err := s.lead(s.env.Context, q, f)
		if err == nil && resp != nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}
