package rule

import (
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func answer(status int, lines string) *stream.Response {
	return &stream.Response{Status: status, Header: *header(lines), Body: stream.NoBody}
}

func TestJudge(t *testing.T) {
	const fresh = "Cache-Control: max-age=60"
	signed, cookie := Asker{Credentials: true}, Asker{Cookie: true}
	for _, c := range []struct {
		section string
		status  int
		fields  string
		asker   Asker
		policy  Policy
		want    Refusal
	}{
		{"3: fresh", 200, fresh, Asker{}, Policy{}, Kept},
		{"3: any final status with a lifetime", 503, fresh, Asker{}, Policy{}, Kept},
		{"3: nothing says so", 200, "", Asker{}, Policy{}, NoLifetime},
		{"3: a validator alone does not say so", 200, `ETag: "a"`, Asker{}, Policy{}, NoLifetime},
		{"3: public", 200, `Cache-Control: public|ETag: "a"`, Asker{}, Policy{}, Kept},
		{"3: public, and no way to use it", 200, "Cache-Control: public", Asker{}, Policy{}, NoLifetime},
		{"3: Expires", 200, "Expires: Fri, 27 Nov 2026 13:00:00 GMT", Asker{}, Policy{}, Kept},
		{"3: Expires, gone", 200, "Expires: Fri, 27 Nov 2026 11:00:00 GMT", Asker{}, Policy{}, NoLifetime},
		{"5.3: Expires: 0", 200, "Expires: 0", Asker{}, Policy{}, NoLifetime},
		{"3: parts", 206, fresh, Asker{}, Policy{}, OddStatus},
		{"3: interim", 103, fresh, Asker{}, Policy{}, OddStatus},
		{"3: a 304 of somebody else", 304, fresh, Asker{}, Policy{}, OddStatus},
		{"3: a part that says 200", 200, fresh + "|Content-Range: bytes 0-1/5", Asker{}, Policy{}, OddStatus},
		{"5.2.2.3: must-understand, known", 200, fresh + ", must-understand", Asker{}, Policy{}, Kept},
		{"5.2.2.3: must-understand, unknown", 299, fresh + ", must-understand", Asker{}, Policy{}, OddStatus},
		{"5.2.2.3: no-store counts all the same", 200, fresh + ", must-understand, no-store", Asker{}, Policy{}, NoStore},
		{"5.2.2.5: no-store", 200, fresh + ", no-store", Asker{}, Policy{}, NoStore},
		{"5.2.1.5: no-store of the client", 200, fresh, Asker{NoStore: true}, Policy{}, NoStore},
		{"5.2.2.7: private", 200, fresh + ", private", Asker{}, Policy{}, Private},
		{"5.2.2.7: private beside public", 200, fresh + ", public, private", Asker{}, Policy{}, Private},
		{"5.2.2.4: no-cache with a validator", 200, `Cache-Control: no-cache|ETag: "a"`, Asker{}, Policy{}, Kept},
		{"5.2.2.4: no-cache without one", 200, "Cache-Control: no-cache, max-age=60", Asker{}, Policy{}, NoLifetime},
		{"3.5: Authorization", 200, fresh, signed, Policy{}, Authorized},
		{"3.5: Authorization and public", 200, fresh + ", public", signed, Policy{}, Kept},
		{"3.5: Authorization and s-maxage", 200, "Cache-Control: s-maxage=60", signed, Policy{}, Kept},
		{"3.5: Authorization and must-revalidate", 200, fresh + ", must-revalidate", signed, Policy{}, Kept},
		{"3.5: Authorization and private", 200, fresh + ", public, private", signed, Policy{}, Private},
		{"a cookie came", 200, fresh, cookie, Policy{}, WithCookie},
		{"a cookie came; must-revalidate says nothing about it", 200, fresh + ", must-revalidate", cookie, Policy{}, WithCookie},
		{"a cookie came, public", 200, fresh + ", public", cookie, Policy{}, Kept},
		{"a cookie came, s-maxage", 200, "Cache-Control: s-maxage=5", cookie, Policy{}, Kept},
		{"7.3: Set-Cookie, even if public", 200, fresh + ", public|Set-Cookie: a=b", Asker{}, Policy{}, SetsCookie},
		{"7.3: Set-Cookie, said in so many words", 200, fresh + "|Set-Cookie: a=b", Asker{}, Policy{ShareSetCookie: true}, Kept},
		{"4.2.2: heuristic is off", 200, "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", Asker{}, Policy{}, NoLifetime},
		{"4.2.2: heuristic is on", 200, "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", Asker{}, Policy{Heuristic: time.Hour}, Kept},
		{"4.2.2: heuristic, a status without", 403, "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", Asker{}, Policy{Heuristic: time.Hour}, NoLifetime},
		{"4.2.3: too old already, no validator", 200, fresh + "|Age: 61", Asker{}, Policy{}, NoLifetime},
		{"4.2.3: too old already, a validator", 200, fresh + `|Age: 61|ETag: "a"`, Asker{}, Policy{}, Kept},
		{"4.2.3: Age without end", 200, fresh + "|Age: 99999999999999999999", Asker{}, Policy{}, NoLifetime},
		{"4.2.3: a date in 1900", 200, fresh + "|Date: Mon, 01 Jan 1900 00:00:00 GMT", Asker{}, Policy{}, NoLifetime},
		{"forced: no-store", 200, "Cache-Control: no-store", Asker{}, Policy{Force: time.Minute, ForceStatus: []int{200}}, Kept},
		{"forced: another status", 404, "Cache-Control: no-store", Asker{}, Policy{Force: time.Minute, ForceStatus: []int{200}}, NoStore},
		{"forced: never a cookie", 200, "Set-Cookie: a=b", Asker{}, Policy{Force: time.Minute, ForceStatus: []int{200}}, SetsCookie},
	} {
		if _, got := Judge(answer(c.status, c.fields), c.asker, Times{noon, noon}, &c.policy); got != c.want {
			t.Errorf("%s: %d %s: %q, want %q", c.section, c.status, c.fields, got, c.want)
		}
	}
}

func TestLifetime(t *testing.T) {
	const yesterday = "|Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT"
	for _, c := range []struct {
		section, fields string
		heuristic, want time.Duration
	}{
		{"4.2.1: s-maxage first", "Cache-Control: max-age=5, s-maxage=60|Expires: Fri, 27 Nov 2026 13:00:00 GMT", 0, time.Minute},
		{"4.2.1: then max-age", "Cache-Control: max-age=5|Expires: Fri, 27 Nov 2026 13:00:00 GMT", 0, 5 * time.Second},
		{"4.2.1: s-maxage=0 is one", "Cache-Control: s-maxage=0, max-age=60", 0, 0},
		{"4.2.1: then Expires less Date", "Date: Fri, 27 Nov 2026 11:30:00 GMT|Expires: Fri, 27 Nov 2026 12:00:00 GMT", 0, 30 * time.Minute},
		{"4.2.1: Expires without Date", "Expires: Fri, 27 Nov 2026 12:00:30 GMT", 0, 30 * time.Second},
		{"5.3: RFC 850 date", "Expires: Friday, 27-Nov-26 12:00:30 GMT", 0, 30 * time.Second},
		{"5.3: asctime", "Expires: Fri Nov 27 12:00:30 2026", 0, 30 * time.Second},
		{"5.3: far away", "Expires: Fri, 31 Dec 9999 23:59:59 GMT", 0, maxTime},
		{"5.3: no date", "Expires: tomorrow" + yesterday, time.Hour, 0},
		{"4.2.2: a tenth", "Last-Modified: Fri, 27 Nov 2026 11:50:00 GMT", time.Hour, time.Minute},
		{"4.2.2: bounded", "Last-Modified: Mon, 01 Jan 1900 00:00:00 GMT", time.Hour, time.Hour},
		{"4.2.2: from the future", "Last-Modified: Fri, 27 Nov 2026 13:00:00 GMT", time.Hour, 0},
	} {
		resp := answer(200, c.fields)
		control := ControlOf(&resp.Header)
		if got, _ := Lifetime(resp, &control, Times{noon, noon}, c.heuristic); got != c.want {
			t.Errorf("%s: %s: %v, want %v", c.section, c.fields, got, c.want)
		}
	}
}

func TestInitialAge(t *testing.T) {
	late := Times{Requested: noon.Add(-2 * time.Second), Received: noon}
	for fields, want := range map[string]time.Duration{
		"":                                    2 * time.Second, // the way counts as age
		"Age: 10":                             12 * time.Second,
		"Age: 10, 500":                        12 * time.Second, // section 5.1: the first
		"Age: old":                            2 * time.Second,
		"Age: -5":                             2 * time.Second,
		"Date: Fri, 27 Nov 2026 11:59:00 GMT": time.Minute,
		"Date: Fri, 27 Nov 2026 13:00:00 GMT": 2 * time.Second, // their clock is ahead
		"Age: 99999999999999999999":           maxTime,
		"Date: Mon, 01 Jan 1900 00:00:00 GMT": maxTime,
	} {
		if got := InitialAge(header(fields), late); got != want {
			t.Errorf("%q: %v, want %v", fields, got, want)
		}
	}
}

func TestUse(t *testing.T) {
	wish := func(lines string) *Wish { w := WishOf(header("Cache-Control: " + lines)); return &w }
	minute := Terms{Lifetime: time.Minute}
	refreshing := Terms{Lifetime: time.Minute, StaleWhileRevalidate: time.Minute}
	for _, c := range []struct {
		section string
		terms   Terms
		age     time.Duration
		wish    *Wish
		want    Use
	}{
		{"4.2: fresh", minute, 59 * time.Second, nil, Fresh},
		{"4.2: not at its end", minute, 60 * time.Second, nil, Ask},
		{"RFC 5861 3", refreshing, 61 * time.Second, nil, Refresh},
		{"RFC 5861 3: over", refreshing, 120 * time.Second, nil, Ask},
		{"5.2.2.4: no-cache", Terms{Lifetime: time.Hour, Validate: true}, 0, nil, Ask},
		{"5.2.1.4: no-cache", minute, 0, wish("no-cache"), Ask},
		{"5.2.1.1: max-age", minute, 10 * time.Second, wish("max-age=5"), Ask},
		{"5.2.1.1: max-age holds", minute, 5 * time.Second, wish("max-age=5"), Fresh},
		{"5.2.1.3: min-fresh", minute, 50 * time.Second, wish("min-fresh=20"), Ask},
		{"5.2.1.3: min-fresh holds", minute, 40 * time.Second, wish("min-fresh=20"), Fresh},
		{"5.2.1.2: max-stale", minute, 65 * time.Second, wish("max-stale=10"), Accepted},
		{"5.2.1.2: max-stale, staler", minute, 75 * time.Second, wish("max-stale=10"), Ask},
		{"5.2.1.2: max-stale, any", minute, 75 * time.Hour, wish("max-stale"), Accepted},
		{"5.2.2.2: must-revalidate", Terms{Lifetime: time.Minute, Strict: true}, 65 * time.Second, wish("max-stale"), Ask},
	} {
		if got := c.terms.UseAt(c.age, c.wish); got != c.want {
			t.Errorf("%s: %d, want %d", c.section, got, c.want)
		}
	}
}

func TestStale(t *testing.T) {
	document := Policy{StaleWhileRevalidate: time.Second, StaleIfError: 2 * time.Second}
	for _, c := range []struct {
		section, control string
		policy           Policy
		while, onError   time.Duration
	}{
		{"4.2.4: nobody allows it", "max-age=60", Policy{}, 0, 0},
		{"RFC 5861", "max-age=60, stale-while-revalidate=3, stale-if-error=4", document, 3 * time.Second, 4 * time.Second},
		{"the document, where it is silent", "max-age=60", document, time.Second, 2 * time.Second},
		{"4.2.4: must-revalidate", "max-age=60, must-revalidate, stale-if-error=4", document, 0, 0},
		{"5.2.2.10: s-maxage is proxy-revalidate", "s-maxage=60", document, 0, 0},
		{"RFC 5861: said beside s-maxage", "s-maxage=60, stale-if-error=4", document, 0, 4 * time.Second},
	} {
		terms, why := Judge(answer(200, "Cache-Control: "+c.control), Asker{}, Times{noon, noon}, &c.policy)
		if why != Kept || terms.StaleWhileRevalidate != c.while || terms.StaleIfError != c.onError {
			t.Errorf("%s: %s: %q, %v, %v", c.section, c.control, why, terms.StaleWhileRevalidate, terms.StaleIfError)
		}
		if got := terms.UsableOnError(61 * time.Second); got != (max(c.while, c.onError) > time.Second) {
			t.Errorf("%s: usable on error: %v", c.section, got)
		}
	}
}
