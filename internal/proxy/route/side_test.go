package route

import (
	"context"
	"net/netip"
	"regexp"
	"sync/atomic"
	"testing"

	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// tallied counts for a test.
type tallied struct{ n atomic.Int64 }

func (t *tallied) Add(n int64) { t.n.Add(n) }

// exposures is an Exposure whose counters are read by cause.
func exposures() (e Exposure, of func(Cause) int64) {
	counters := [NumCauses]*tallied{}
	for cause := range counters {
		counters[cause] = new(tallied)
		e[cause] = counters[cause]
	}
	return e, func(c Cause) int64 { return counters[c].n.Load() }
}

// TestChoicesByClaim: sides go by what a verified token says, and by nothing that
// a request merely says of itself.
func TestChoicesByClaim(t *testing.T) {
	took := ""
	side := func(name string, values ...snapshot.Value) Choice {
		return Choice{Match: &snapshot.Match{Claims: values}, Side: Side{Name: name, Service: stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			took = name
			return answers(200).Serve(ctx, req)
		})}}
	}
	c := NewChoices([]Choice{
		side("beta", snapshot.Value{Name: "/realm/roles", Exact: text("beta")}),
		side("staff", snapshot.Value{Name: "mail", Regex: regexp.MustCompile("[a-z]+@weir[.]test")}, snapshot.Value{Name: "/realm/roles", Exact: text("guest"), Not: true}),
		side("plan", snapshot.Value{Name: "plan"}),
		side("nobody", snapshot.Value{Name: "sub", Absent: true}),
	}, side("others").Service)
	word := func(s string) stream.Claim { return stream.Claim{Kind: stream.TextClaim, Text: s} }
	roles := func(names ...string) stream.Claim {
		list := stream.Claim{Kind: stream.ListClaim}
		for _, name := range names {
			list.Items = append(list.Items, word(name))
		}
		return stream.Claim{Kind: stream.ObjectClaim, Members: map[string]stream.Claim{"roles": list}}
	}
	for _, k := range []struct {
		claims map[string]stream.Claim // nil: no token
		want   string
	}{
		{nil, "nobody"},
		{map[string]stream.Claim{"sub": word("a")}, "others"},
		{map[string]stream.Claim{"sub": word("a"), "realm": roles("x", "beta")}, "beta"},
		{map[string]stream.Claim{"sub": word("a"), "realm": roles("beta2")}, "others"},
		{map[string]stream.Claim{"sub": word("a"), "mail": word("a@weir.test"), "realm": roles("x")}, "staff"},
		{map[string]stream.Claim{"sub": word("a"), "mail": word("a@weir.test"), "realm": roles("x", "guest")}, "others"},
		{map[string]stream.Claim{"sub": word("a"), "mail": word("a@weir.test.evil.test")}, "others"},
		{map[string]stream.Claim{"sub": word("a"), "plan": {Kind: stream.ObjectClaim}}, "plan"},
		{map[string]stream.Claim{"sub": word("a"), "plan": {}}, "others"}, // null
		{map[string]stream.Claim{}, "nobody"},
	} {
		req := request(t, "GET h /?roles=beta", "roles: beta")
		if k.claims != nil {
			req.Identify(&stream.Claims{All: stream.Claim{Kind: stream.ObjectClaim, Members: k.claims}})
		}
		if serve(t, c, req); took != k.want {
			t.Errorf("%v went to %s, want %s", k.claims, took, k.want)
		}
	}
}

func TestChoices(t *testing.T) {
	took := ""
	side := func(name string, m *snapshot.Match) Choice {
		return Choice{Match: m, Side: Side{Name: name, Service: stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			took = name
			return answers(200).Serve(ctx, req)
		})}}
	}
	list := []Choice{
		side("header", &snapshot.Match{Headers: []snapshot.Value{{Name: "X-Arm", Exact: text("b")}}}),
		side("cookie", &snapshot.Match{Cookies: []snapshot.Value{{Name: "arm", Prefix: text("b")}}}),
		side("query", &snapshot.Match{Query: []snapshot.Value{{Name: "arm", Regex: regexp.MustCompile("b|c")}}}),
		side("both", &snapshot.Match{
			Headers: []snapshot.Value{{Name: "X-Other"}}, Clients: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120"), netip.MustParsePrefix("2001:db8::/32")},
		}),
	}
	exposed, of := exposures()
	list[0].Exposed = exposed
	c := NewChoices(list, side("others", nil).Service)
	for _, k := range []struct {
		fields string
		url    string
		client string
		want   string
	}{
		{"", "/", "192.0.2.7", "others"},
		{"x-arm: b", "/", "192.0.2.7", "header"},
		{"x-arm: a", "/", "192.0.2.7", "others"},
		{"cookie: x=1; arm=blue", "/", "192.0.2.7", "cookie"},
		{"cookie: arm=a", "/", "192.0.2.7", "others"},
		{"x-none: 1", "/?arm=c", "192.0.2.7", "query"},
		{"x-none: 1", "/?arm=cc", "192.0.2.7", "others"},
		{"x-arm: b", "/?arm=b", "192.0.2.7", "header"}, // the first that holds
		{"x-other: 1", "/", "192.0.2.7", "both"},
		{"x-other: 1", "/", "2001:db8::1", "both"},
		{"x-other: 1", "/", "198.51.100.1", "others"},
	} {
		line := "GET h " + k.url
		req := request(t, line)
		if k.fields != "" {
			req = request(t, line, k.fields)
		}
		req.Client = netip.MustParseAddr(k.client)
		if serve(t, c, req); took != k.want {
			t.Errorf("%s %s of %s went to %s, want %s", k.fields, k.url, k.client, took, k.want)
		}
	}
	if of(ByMatch) != 2 || of(ByKey)+of(ByChance) != 0 {
		t.Errorf("%d by match, want 2", of(ByMatch))
	}
}

// TestExposure: what a side is counted for, and why.
func TestExposure(t *testing.T) {
	list := sides(new(string), 1, 0)
	exposed, of := exposures()
	list[0].Exposed = exposed
	s := newSplit(t, list, "header:x-user", "r")
	serve(t, s, request(t, "GET h /", "x-user: a"))
	serve(t, s, request(t, "GET h /", "x-user: b"))
	serve(t, s, request(t, "GET h /"))
	serve(t, s, request(t, "GET h /", "x-user: "))
	if of(ByKey) != 2 || of(ByChance) != 2 || of(ByMatch) != 0 {
		t.Errorf("%d by key, %d by chance", of(ByKey), of(ByChance))
	}
	for cause, want := range map[Cause]string{ByKey: "key", ByChance: "chance", ByMatch: "match"} {
		if cause.String() != want {
			t.Errorf("cause %d is %q", cause, cause)
		}
	}
}
