package jwt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/filters/jwt"
	"github.com/weirproxy/weir/filters/jwt/jwttest"
	"github.com/weirproxy/weir/stream"
)

// idp serves a key set as it is told to.
type idp struct {
	mu     sync.Mutex
	answer func() (*stream.Response, error)
	asked  []string
}

func (i *idp) Serve(_ context.Context, req *stream.Request) (*stream.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, req.Method+" "+req.Target.Scheme+"://"+req.Target.Authority()+req.Target.RequestURI()+" "+strings.Join(filtertest.Lines(&req.Header), "|"))
	return i.answer()
}

func (i *idp) says(status int, body string, fields ...string) {
	i.does(func() (*stream.Response, error) { return filtertest.Response(status, body, fields...), nil })
}

func (i *idp) does(answer func() (*stream.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func (i *idp) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

const remote = `issuers: [{issuer: "https://idp.test/", audiences: [shop], keys: {url: "https://idp.test/keys?a=b", cluster: idp, max_size: 4KiB}}]`

func buildRemote(t *testing.T, i *idp) *house {
	h := &house{House: &filtertest.House{Clusters: map[string]stream.Service{"idp": i}}, key: jwttest.Ed(t, "one"), next: &filtertest.Next{}}
	h.Service = filtertest.BuildIn(t, h.House, jwt.Definition(), remote, h.next)
	return h
}

// TestRotation: a new key is found when a token names it; and tokens of one that
// is gone are not good any more, though they were verified before.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, two := &idp{}, jwttest.Ed(t, "two")
		i.does(func() (*stream.Response, error) { return nil, &stream.Fault{Kind: stream.NoEndpoint} })
		h := buildRemote(t, i)
		synctest.Wait()
		i.says(200, jwttest.Set(h.key.JWK()))
		old := bearer(h.key.Claims(t, "EdDSA", claims()))
		fresh := bearer(two.Claims(t, "EdDSA", claims()))
		time.Sleep(2 * time.Second)
		if _, fault := h.ask(t, old); fault != nil {
			t.Fatal(fault)
		}
		if want := "GET https://idp.test/keys?a=b Accept: application/jwk-set+json, application/json|Accept-Encoding: identity|User-Agent: weir"; i.asked[0] != want {
			t.Errorf("asked by %s, want %s", i.asked[0], want)
		}
		i.says(200, jwttest.Set(two.JWK()))
		if _, fault := h.ask(t, fresh); fault == nil || !strings.Contains(fault.Error(), "unknown_key") {
			t.Errorf("within the cooldown: %v", fault)
		}
		time.Sleep(11 * time.Second)
		if _, fault := h.ask(t, fresh); fault != nil {
			t.Errorf("behind it: %v", fault)
		}
		if _, fault := h.ask(t, old); fault == nil {
			t.Error("the old key is good still")
		}
		if ok, failed := h.Counted(`weir_jwt_key_fetches_total{issuer="https://idp.test/",result="ok"}`), h.Counted(`weir_jwt_key_fetches_total{issuer="https://idp.test/",result="error"}`); ok != 2 || failed != 1 {
			t.Errorf("%d fetches and %d failures are counted", ok, failed)
		}
	})
}

// TestNoKeys is threats.md section 7, "JWT handling": sets that are missing, slow,
// huge, empty or somebody else's close the route, and say that it is not the
// client's fault.
func TestNoKeys(t *testing.T) {
	for name, answer := range map[string]func() (*stream.Response, error){
		"gone": func() (*stream.Response, error) {
			return nil, &stream.Fault{Kind: stream.ConnectRefused, Cause: errors.New("refused")}
		},
		"not found": func() (*stream.Response, error) { return filtertest.Response(404, "{}"), nil },
		"elsewhere": func() (*stream.Response, error) {
			return filtertest.Response(302, "", "Location: https://evil.test/"), nil
		},
		"HTML":  func() (*stream.Response, error) { return filtertest.Response(200, "<html>"), nil },
		"empty": func() (*stream.Response, error) { return filtertest.Response(200, `{"keys":[]}`), nil },
		"huge": func() (*stream.Response, error) {
			return filtertest.Response(200, strings.Repeat(" ", 5000)+`{"keys":[]}`), nil
		},
		"compressed": func() (*stream.Response, error) { return filtertest.Response(200, "x", "Content-Encoding: gzip"), nil },
		"broken off": func() (*stream.Response, error) { r := filtertest.Response(200, ""); r.Body = broken{}; return r, nil },
		"private keys": func() (*stream.Response, error) {
			return filtertest.Response(200, `{"keys":[{"kty":"RSA","d":"AA"}]}`), nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &idp{}
			i.does(answer)
			h := buildRemote(t, i)
			synctest.Wait()
			for range 3 {
				_, fault := h.ask(t, bearer(h.key.Claims(t, "EdDSA", claims())))
				if fault == nil || fault.Kind != stream.Unverifiable || fault.RetryAfter <= 0 || fault.Header != nil {
					t.Errorf("%s: %+v", name, fault)
				}
				if _, fault := h.ask(t); fault == nil || fault.Kind != stream.Unauthenticated {
					t.Errorf("%s: no token: %v", name, fault)
				}
			}
			if n := i.times(); n > 2 {
				t.Errorf("%s: asked %d times by three requests", name, n)
			}
			if shown := fmt.Sprintf("%+v", h.Shown()); !strings.Contains(shown, "Usable:false") {
				t.Errorf("%s: operators see %s", name, shown)
			}
		})
	}
}

type broken struct{ stream.Body }

func (broken) Read([]byte) (int, error) { return 0, &stream.Fault{Kind: stream.UpstreamReset} }
func (broken) Close() error             { return nil }

// TestOneSourceForAll: routes that name the same URL have it fetched once.
func TestOneSourceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &idp{}
		h := &house{House: &filtertest.House{Clusters: map[string]stream.Service{"idp": i}}, key: jwttest.Ed(t, "one"), next: &filtertest.Next{}}
		i.says(200, jwttest.Set(h.key.JWK()))
		for range 5 {
			h.Service = filtertest.BuildIn(t, h.House, jwt.Definition(), remote, h.next)
		}
		time.Sleep(time.Second)
		if _, fault := h.ask(t, bearer(h.key.Claims(t, "EdDSA", claims()))); fault != nil || i.times() != 1 {
			t.Errorf("%v; %d fetches", fault, i.times())
		}
	})
}
