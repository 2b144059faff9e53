package route

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

func TestIssue(t *testing.T) {
	issued := new(tallied)
	var upstream string // the Cookie field that it gets
	next := stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
		upstream = strings.Join(req.Header.Values(nil, "Cookie"), " | ")
		return answers(200).Serve(ctx, req)
	})
	for _, c := range []struct {
		name   string
		spec   config.SplitCookie
		cookie []string
		secure bool   // the client is on TLS
		issues bool   // a cookie is issued
		up     string // ID is what was issued
		set    string
	}{
		{"none", config.SplitCookie{TTL: config.Duration(time.Hour), Path: "/", Secure: "auto", SameSite: "lax"}, nil, false, true,
			"arm=ID", "arm=ID; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
		{"on TLS", config.SplitCookie{TTL: config.Duration(time.Hour), Path: "/a", Secure: "auto", SameSite: "strict"}, nil, true, true,
			"arm=ID", "arm=ID; Path=/a; Max-Age=3600; HttpOnly; SameSite=Strict; Secure"},
		{"secure always", config.SplitCookie{TTL: 1, Path: "/", Secure: "always", SameSite: "none"}, nil, false, true,
			"arm=ID", "arm=ID; Path=/; Max-Age=1; HttpOnly; SameSite=None; Secure"},
		{"secure never", config.SplitCookie{TTL: 1, Path: "/", Secure: "never", SameSite: "lax"}, nil, true, true,
			"arm=ID", "arm=ID; Path=/; Max-Age=1; HttpOnly; SameSite=Lax"},
		{"others", config.SplitCookie{TTL: 1, Path: "/", Secure: "never"}, []string{"a=1", "b=2; c=3"}, false, true, "arm=ID; a=1; b=2; c=3", ""},
		{"an empty one", config.SplitCookie{TTL: 1, Path: "/", Secure: "never"}, []string{"arm="}, false, true, "arm=ID; arm=", ""},
		{"its own", config.SplitCookie{TTL: 1, Path: "/", Secure: "never"}, []string{"a=1; arm=mine"}, false, false, "a=1; arm=mine", ""},
	} {
		s, err := NewIssue(next, "cookie:arm", &c.spec, issued)
		if err != nil {
			t.Fatal(err)
		}
		req := request(t, "GET h /")
		if c.secure {
			req.Target.Scheme = "https"
		}
		for _, line := range c.cookie {
			req.Header.Add("Cookie", line)
		}
		before := issued.n.Load()
		resp, _ := serve(t, s, req)
		set, ok := resp.Header.Get("Set-Cookie")
		if ok != c.issues || issued.n.Load()-before != map[bool]int64{true: 1}[c.issues] {
			t.Errorf("%s: Set-Cookie %q, %d issued", c.name, set, issued.n.Load()-before)
			continue
		}
		id := ""
		if c.issues {
			if id = regexp.MustCompile("^arm=([A-Z2-7]{26});").FindStringSubmatch(set)[1]; id == "" {
				t.Fatalf("%s: %q", c.name, set)
			}
			if got, ok := requestkey.Cookie(&req.Header, "arm"); !ok || got != id {
				t.Errorf("%s: the split goes by %q, the client gets %q", c.name, got, id)
			}
		}
		if want := strings.Replace(c.up, "ID", id, 1); upstream != want {
			t.Errorf("%s: the upstream gets %q, want %q", c.name, upstream, want)
		}
		if want := strings.Replace(c.set, "ID", id, 1); c.set != "" && set != want {
			t.Errorf("%s: the client gets %q, want %q", c.name, set, want)
		}
	}
}

// TestIssuedStays: the first request of a client takes the side that its later
// ones take, and two clients have values of their own.
func TestIssuedStays(t *testing.T) {
	took := ""
	split := newSplit(t, sides(&took, 50, 50), "cookie:arm", "r")
	s, err := NewIssue(split, "cookie:arm", &config.SplitCookie{TTL: 1, Path: "/"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen, values := map[string]int{}, map[string]bool{}
	for range 100 {
		resp, _ := serve(t, s, request(t, "GET h /"))
		set, _ := resp.Header.Get("Set-Cookie")
		first := took
		pair, _, _ := strings.Cut(set, ";")
		serve(t, s, request(t, "GET h /", "cookie: "+pair))
		if took != first {
			t.Fatalf("%s went to %s, then to %s", pair, first, took)
		}
		seen[first]++
		values[pair] = true
	}
	if len(values) != 100 || seen["c0"] < 20 || seen["c1"] < 20 {
		t.Errorf("%d values, sides %v", len(values), seen)
	}
}

func TestIssueRefusals(t *testing.T) {
	for _, key := range []string{"", "header:x", "cookie:", "client"} {
		if _, err := NewIssue(nil, key, &config.SplitCookie{}, nil); err == nil {
			t.Errorf("a value is issued for %q", key)
		}
	}
	fault := &stream.Fault{Kind: stream.NoEndpoint}
	issued := new(tallied)
	s, err := NewIssue(stream.ServiceFunc(func(_ context.Context, req *stream.Request) (*stream.Response, error) {
		req.Body.Close()
		return nil, fault
	}), "cookie:arm", &config.SplitCookie{}, issued)
	if err != nil {
		t.Fatal(err)
	}
	if _, got := serve(t, s, request(t, "GET h /")); got != fault || issued.n.Load() != 0 {
		t.Errorf("%v, %d issued", got, issued.n.Load())
	}
}
