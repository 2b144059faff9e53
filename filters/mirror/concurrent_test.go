package mirror

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

// echoing answers with the body of the request as JSON, after it was read in
// pieces.
func echoing(quote string) stream.Service {
	return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		defer req.Body.Close()
		content, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, stream.AsFault(err)
		}
		resp := filtertest.Response(200, quote+string(content)+quote, asJSON)
		resp.Body = struct{ stream.Body }{resp.Body} // not in memory
		return resp, nil
	})
}

// TestManyAtOnce: whatever is dropped under load, every request is answered and
// counted once, and the budget is whole in the end.
func TestManyAtOnce(t *testing.T) {
	const clients, each = 16, 60
	s := &street{}
	s.house.Clusters = map[string]stream.Service{"shadow": echoing(`"`)}
	env := s.house.Env(t)
	var work sync.WaitGroup
	env.Go = func(f func()) { work.Go(f) }
	settings, _ := filtertest.Decode(t, Definition(), "to: shadow\nmethods: [POST]\nbudget: {concurrent: 4, bytes: 3KiB, max_body: 1KiB}\ncompare: {json: {}}")
	m, err := Definition().Build(settings, env, echoing(`"`))
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for c := range clients {
		callers.Go(func() {
			for i := range each {
				body := strings.Repeat("x", (c*each+i)%1200)
				resp, err := m.Serve(t.Context(), filtertest.WithBody(filtertest.Request("POST", "http://h/"), body))
				if err != nil {
					t.Error(err)
					return
				}
				if i%5 == 0 { // a client that leaves
					resp.Body.Close()
					continue
				}
				if content, err := io.ReadAll(resp.Body); err != nil || string(content) != `"`+body+`"` {
					t.Errorf("%d bytes came back as %d, %v", len(body), len(content), err)
				}
				resp.Body.Close()
			}
		})
	}
	callers.Wait()
	work.Wait()
	s.empty(t)
	total := int64(0)
	for o := range numOutcomes {
		total += s.copies(outcomeNames[o])
	}
	for r := none + 1; r < numReasons; r++ {
		total += s.uncopied(r.String())
	}
	if total != clients*each {
		t.Errorf("%d of %d requests are counted", total, clients*each)
	}
	// And the next one, which has the budget for itself, is copied and compared.
	equal := s.compared("equal")
	s.mirror = m
	s.ask(t, filtertest.WithBody(filtertest.Request("POST", "http://h/"), "content"))
	work.Wait()
	if s.compared("equal") != equal+1 || s.compared("different") != 0 {
		t.Errorf("%d equal after %d, %d different", s.compared("equal"), equal, s.compared("different"))
	}
}
