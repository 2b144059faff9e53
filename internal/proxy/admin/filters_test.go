package admin

import (
	"strings"
	"testing"
)

// TestCanaries are shown, and obey, behind the guard.
func TestCanaries(t *testing.T) {
	s := newServer(&fake{})
	if answer := call(s, "GET", "/canaries"); answer.Code != 200 || !strings.Contains(answer.Body.String(), `"running"`) {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
	if answer := call(s, "POST", "/canaries/payments/pause"); answer.Code != 200 || !strings.Contains(answer.Body.String(), `"paused"`) {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
	expect(t, call(s, "POST", "/canaries/payments/explode"), 422)
	expect(t, call(s, "POST", "/canaries/payments/pause", "Origin", "https://evil.example"), 403)
}

// TestFilters: filters show what they have, and do what operators ask, behind
// the same guard as a reload.
func TestFilters(t *testing.T) {
	s := newServer(&fake{})
	if answer := call(s, "GET", "/filters/cache"); answer.Code != 200 || !strings.Contains(answer.Body.String(), `"shop"`) {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
	expect(t, call(s, "GET", "/filters/headers"), 404)
	if answer := call(s, "POST", "/filters/cache/purge?route=shop"); answer.Code != 200 || !strings.Contains(answer.Body.String(), `cache purge shop {}`) {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
	expect(t, call(s, "POST", "/filters/cache/explode"), 422)
	expect(t, call(s, "POST", "/filters/cache/purge", "Content-Type", "text/plain"), 415)
	expect(t, call(s, "POST", "/filters/cache/purge", "Origin", "https://evil.example"), 403)
}
