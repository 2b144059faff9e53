package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// RFC 9213: which field counts, and what in it does.
func TestTargeted(t *testing.T) {
	targets := []string{"Weir-Cache-Control", "CDN-Cache-Control"}
	control := func(change func(*Control)) Control {
		c := Control{Targeted: true, MaxAge: None, SMaxAge: None, StaleWhileRevalidate: None, StaleIfError: None}
		change(&c)
		return c
	}
	age := func(seconds int64) Control {
		return control(func(c *Control) { c.MaxAge = time.Duration(seconds) * time.Second })
	}
	plain := age(5)
	plain.Targeted = false
	for _, c := range []struct {
		name, head string
		want       Control
	}{
		{"none", "", plain},
		{"one", "CDN-Cache-Control: max-age=60", age(60)},
		{"the first of the list, wherever it stands", "CDN-Cache-Control: max-age=60\nweir-cache-control: max-age=7", age(7)},
		{"the next when the first is empty", "Weir-Cache-Control: \nCDN-Cache-Control: max-age=60", age(60)},
		{"the next when the first is broken", "Weir-Cache-Control: max-age=\nCDN-Cache-Control: max-age=60", age(60)},
		{"broken behind what was good", "CDN-Cache-Control: max-age=60, no-store;;", plain},
		{"upper case is no key", "CDN-Cache-Control: Max-Age=60", plain},
		{"an unfinished string", "CDN-Cache-Control: max-age=60, x=\"", plain},
		{"the comma at the end", "CDN-Cache-Control: max-age=60,", plain},
		{"not for us", "Other-Cache-Control: no-store", plain},
		{"two fields are one", "CDN-Cache-Control: max-age=60\nCDN-Cache-Control: no-store", control(func(c *Control) { c.MaxAge, c.NoStore = time.Minute, true })},
		{"the last of two counts", "CDN-Cache-Control: max-age=60, max-age=7", age(7)},
		{"parameters mean nothing", "CDN-Cache-Control: max-age=60;no-store", age(60)},
		{"what is not known", "CDN-Cache-Control: max-age=60, x-shield=(a b), durable", age(60)},
		{"no", "CDN-Cache-Control: max-age=60, no-store=?0, private=?0", age(60)},
		{"forbidden with an odd value", "CDN-Cache-Control: max-age=60, private=\"set-cookie\"", control(func(c *Control) { c.MaxAge, c.Private = time.Minute, true })},
		{"forbidden with a list", "CDN-Cache-Control: no-cache=(a)", control(func(c *Control) { c.NoCache = true })},
		{"permitted with an odd value", "CDN-Cache-Control: max-age=60, public=1", age(60)},
		{"a text is no time", "CDN-Cache-Control: max-age=\"60\"", age(0)},
		{"neither is a fraction", "CDN-Cache-Control: max-age=60.5", age(0)},
		{"nor is less than nothing", "CDN-Cache-Control: max-age=-60", age(0)},
		{"the largest number", "CDN-Cache-Control: max-age=999999999999999", control(func(c *Control) { c.MaxAge = maxTime })},
		{"a larger one is none", "CDN-Cache-Control: max-age=9999999999999999", plain},
		{"all", "CDN-Cache-Control: public, must-revalidate, s-maxage=1, stale-while-revalidate=2, stale-if-error=3", control(func(c *Control) {
			c.Public, c.MustRevalidate = true, true
			c.SMaxAge, c.StaleWhileRevalidate, c.StaleIfError = time.Second, 2*time.Second, 3*time.Second
		})},
	} {
		h := &stream.Header{}
		h.Add("Cache-Control", "max-age=5")
		for line := range strings.Lines(c.head) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			h.Add(name, strings.TrimSpace(value))
		}
		if got := controlFor(h, targets); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// What is targeted counts in the place of Expires, too, and for who shows who
// they are.
func TestTargetedInTheirPlace(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	times := Times{Requested: now, Received: now}
	for _, c := range []struct {
		name, head string
		asker      Asker
		lifetime   time.Duration
		why        Refusal
	}{
		{"for us, and nobody else", "Cache-Control: private, no-store\nCDN-Cache-Control: max-age=60", Asker{}, time.Minute, Kept},
		{"for others, and not us", "Cache-Control: public, max-age=60\nCDN-Cache-Control: no-store", Asker{}, 0, NoStore},
		{"Expires does not count beside it", "Expires: Sun, 01 Nov 2026 13:00:00 GMT\nCDN-Cache-Control: must-revalidate", Asker{}, 0, NoLifetime},
		{"it does beside a broken one", "Expires: Sun, 01 Nov 2026 13:00:00 GMT\nCDN-Cache-Control: ,", Asker{}, time.Hour, Kept},
		{"Pragma does not count beside it", "Pragma: no-cache\nCDN-Cache-Control: max-age=60", Asker{}, time.Minute, Kept},
		{"not for who has a cookie", "CDN-Cache-Control: max-age=60", Asker{Cookie: true}, 0, WithCookie},
		{"public of another field does not help", "Cache-Control: public\nCDN-Cache-Control: max-age=60", Asker{Cookie: true}, 0, WithCookie},
		{"for all", "CDN-Cache-Control: public, max-age=60", Asker{Cookie: true, Credentials: true}, time.Minute, Kept},
		{"a cookie is never for all", "Set-Cookie: a=b\nCDN-Cache-Control: public, max-age=60", Asker{}, 0, SetsCookie},
	} {
		resp := &stream.Response{Status: 200}
		for line := range strings.Lines(c.head) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			resp.Header.Add(name, strings.TrimSpace(value))
		}
		terms, why := Judge(resp, c.asker, times, &Policy{Targets: []string{"CDN-Cache-Control"}})
		if why != c.why || terms.Lifetime != c.lifetime {
			t.Errorf("%s: %v, %q, want %v, %q", c.name, terms.Lifetime, why, c.lifetime, c.why)
		}
	}
}

func FuzzTargeted(f *testing.F) {
	for _, seed := range []string{"max-age=60, no-store", "max-age=60;x=?0, private=(a \"b\")", "s-maxage=:YQ==:", "a=@1, b=%\"x\"", ",", "max-age=999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := targetedControl([]string{value})
		if !ok {
			if c != (Control{}) {
				t.Errorf("%q is not understood, and says %+v", value, c)
			}
			return
		}
		for _, age := range []time.Duration{c.MaxAge, c.SMaxAge, c.StaleIfError, c.StaleWhileRevalidate} {
			if age < None || age > maxTime {
				t.Errorf("%q: %v", value, age)
			}
		}
		// What forbids counts, whatever stands in front, and what is broken behind
		// makes all of it not count.
		if c, ok := targetedControl([]string{value, "no-store"}); !ok || !c.NoStore {
			t.Errorf("%q hides no-store", value)
		}
		if _, ok := targetedControl([]string{value, "!"}); ok {
			t.Errorf("%q hides what is broken", value)
		}
	})
}
