package admin

import (
	"strings"
	"testing"
)

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
