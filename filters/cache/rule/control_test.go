package rule

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// header makes a header of "Name: value" lines, "|" between them.
func header(lines string) *stream.Header {
	h := &stream.Header{}
	for _, line := range strings.Split(lines, "|") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(name, strings.TrimSpace(value))
		}
	}
	return h
}

func TestControl(t *testing.T) {
	none := Control{MaxAge: None, SMaxAge: None, StaleWhileRevalidate: None, StaleIfError: None}
	with := func(change func(*Control)) Control { c := none; change(&c); return c }
	for _, c := range []struct {
		fields, section string
		want            Control
	}{
		{"", "5.2", none},
		{"Cache-Control: max-age=60", "5.2.2.1", with(func(c *Control) { c.MaxAge = time.Minute })},
		{"cache-control: Max-Age=60 , PUBLIC", "5.2: names without case", with(func(c *Control) { c.MaxAge, c.Public = time.Minute, true })},
		{`Cache-Control: max-age="60"`, "5.2: both forms", with(func(c *Control) { c.MaxAge = time.Minute })},
		{"Cache-Control: max-age=60, max-age=5", "4.2.1: the first", with(func(c *Control) { c.MaxAge = time.Minute })},
		{"Cache-Control: max-age=60|Cache-Control: max-age=5, no-store", "5.2: one list", with(func(c *Control) { c.MaxAge, c.NoStore = time.Minute, true })},
		{"Cache-Control: max-age=banana", "4.2.1: invalid is stale", with(func(c *Control) { c.MaxAge = 0 })},
		{"Cache-Control: max-age=-1", "4.2.1: invalid is stale", with(func(c *Control) { c.MaxAge = 0 })},
		{"Cache-Control: max-age", "4.2.1: invalid is stale", with(func(c *Control) { c.MaxAge = 0 })},
		{"Cache-Control: max-age=1.5", "1.2.2", with(func(c *Control) { c.MaxAge = 0 })},
		{"Cache-Control: max-age=99999999999999999999999999", "1.2.2: no overflow", with(func(c *Control) { c.MaxAge = maxTime })},
		{"Cache-Control: s-maxage=10", "5.2.2.10", with(func(c *Control) { c.SMaxAge = 10 * time.Second })},
		{`Cache-Control: private="x, y", no-cache="Set-Cookie"`, "5.2.2.7, 5.2.2.4: read as without names", with(func(c *Control) { c.Private, c.NoCache = true, true })},
		{`Cache-Control: ext="a, no-store", public`, "5.2.3: what is quoted is no directive", with(func(c *Control) { c.Public = true })},
		{`Cache-Control: ext="a, no-store`, "a quote without end hides nothing", with(func(c *Control) { c.NoStore = true })},
		{`Cache-Control: private="a`, "a quote without end hides nothing", with(func(c *Control) { c.Private = true })},
		{"Cache-Control: proxy-revalidate", "5.2.2.8", with(func(c *Control) { c.MustRevalidate = true })},
		{"Cache-Control: must-revalidate, must-understand", "5.2.2.2, 5.2.2.3", with(func(c *Control) { c.MustRevalidate, c.MustUnderstand = true, true })},
		{"Cache-Control: stale-while-revalidate=5, stale-if-error=7", "RFC 5861",
			with(func(c *Control) { c.StaleWhileRevalidate, c.StaleIfError = 5*time.Second, 7*time.Second })},
		{"Cache-Control: no-storey, xpublic, , =5, =", "5.2.3: unknown ones are left alone", none},
		{"Pragma: no-cache", "5.4", with(func(c *Control) { c.NoCache = true })},
		{"Pragma: no-cache|Cache-Control: max-age=60", "5.4", with(func(c *Control) { c.MaxAge = time.Minute })},
	} {
		if got := ControlOf(header(c.fields)); got != c.want {
			t.Errorf("%s (%s): %+v, want %+v", c.fields, c.section, got, c.want)
		}
	}
}

func TestWish(t *testing.T) {
	none := Wish{MaxAge: None, MinFresh: None, MaxStale: None}
	for fields, change := range map[string]func(*Wish){
		"": func(*Wish) {},
		"Cache-Control: no-store, no-cache, only-if-cached":      func(w *Wish) { w.NoStore, w.NoCache, w.OnlyIfCached = true, true, true },
		"Cache-Control: max-age=0, min-fresh=5, max-stale=7":     func(w *Wish) { w.MaxAge, w.MinFresh, w.MaxStale = 0, 5*time.Second, 7*time.Second },
		"Cache-Control: max-stale":                               func(w *Wish) { w.MaxStale = maxTime },
		"Pragma: no-cache":                                       func(w *Wish) { w.NoCache = true },
		"Pragma: no-cache|Cache-Control: max-age=5":              func(w *Wish) { w.MaxAge = 5 * time.Second },
		"Pragma: no-cache, x|Accept: no-store|Cache-Control: ,,": func(*Wish) {},
	} {
		want := none
		change(&want)
		if got := WishOf(header(fields)); got != want {
			t.Errorf("%q: %+v, want %+v", fields, got, want)
		}
	}
}

// A field of quotes costs no square of its length.
func TestQuotesAreCheap(t *testing.T) {
	hostile := strings.Repeat(`\",`, 1<<20)
	done := time.Now()
	h := &stream.Header{}
	h.Add("Cache-Control", `"`+hostile+"no-store")
	if !ControlOf(h).NoStore {
		t.Error("no-store is hidden")
	}
	if took := time.Since(done); took > 5*time.Second {
		t.Errorf("3 MiB took %v", took)
	}
}

func FuzzControl(f *testing.F) {
	for _, seed := range []string{"max-age=60", `private="a,b", x="`, "s-maxage=99999999999999", ",,=,\\\"", "max-stale"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h := &stream.Header{}
		h.Add("Cache-Control", value)
		c, w := ControlOf(h), WishOf(h)
		for _, age := range []time.Duration{c.MaxAge, c.SMaxAge, c.StaleIfError, c.StaleWhileRevalidate, w.MaxAge, w.MaxStale, w.MinFresh} {
			if age < None || age > maxTime {
				t.Errorf("%q: %v", value, age)
			}
		}
		// What forbids counts wherever it stands.
		h.Add("Cache-Control", "no-store")
		if !ControlOf(h).NoStore {
			t.Errorf("%q hides no-store", value)
		}
	})
}
