package jwt

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filters/jwt/keys"
	"github.com/weirproxy/weir/stream"
)

// maxList bounds the lists that each request is compared with.
const maxList = 50

func check(s *Settings, report *config.Report) {
	if len(s.Issuers) == 0 || len(s.Issuers) > maxList {
		report.Errorf("issuers", "write [{issuer: URL, audiences: [NAME], keys: {file: PATH}}]", "%d issuers; there are 1 to %d", len(s.Issuers), maxList)
	}
	seen := map[string]bool{}
	for i := range s.Issuers {
		issuer, at := &s.Issuers[i], report.Below(fmt.Sprintf("issuers[%d]", i))
		if seen[issuer.Issuer] {
			at.Errorf("issuer", "write one entry with all of its keys", "issuer %q stands there twice", issuer.Issuer)
		}
		seen[issuer.Issuer] = true
		issuer.check(at)
	}
	if _, err := parsePlace(s.From); err != nil {
		report.Errorf("from", "write authorization, header:NAME or cookie:NAME", "%v", err)
	}
	checkLimits(s, report)
	checkHeaders(s, report)
	checkDemands(s, report)
	if s.Mode == shadow {
		report.Warnf("mode", "write enforce when the counters say that all is well", "in shadow mode requests pass whoever sends them")
	}
}

func checkLimits(s *Settings, report *config.Report) {
	if s.Leeway < 0 || s.Leeway > config.Duration(10*time.Minute) {
		report.Errorf("leeway", "write 60s", "clocks that differ by %s: 0 to 10m are taken", s.Leeway)
	}
	if s.MaxLifetime <= 0 {
		report.Errorf("max_lifetime", "write 24h", "no token is good for %s", s.MaxLifetime)
	}
	if strings.ContainsAny(s.Realm, `"\`) || stream.BadValueByte(s.Realm) >= 0 {
		report.Errorf("realm", "use letters, digits and spaces", "%q cannot stand in WWW-Authenticate", s.Realm)
	}
}

func checkHeaders(s *Settings, report *config.Report) {
	if len(s.Headers) > maxList {
		report.Errorf("headers", "write payload: NAME, and have the upstream read it", "%d headers, more than %d", len(s.Headers), maxList)
	}
	var seen []string
	for i, h := range s.Headers {
		at := report.Below(fmt.Sprintf("headers[%d]", i))
		checkHeader(at, "name", h.Name, seen)
		seen = append(seen, h.Name)
		if _, err := stream.ParseClaimName(h.Claim); err != nil {
			at.Errorf("claim", "", "%v", err)
		}
	}
	if s.Payload != "" {
		checkHeader(report, "payload", s.Payload, seen)
	}
}

// checkHeader refuses names that are not the document's to write, or written
// twice in the eyes of an upstream.
func checkHeader(report *config.Report, at, name string, seen []string) {
	switch id := stream.Lookup(name); {
	case !stream.IsToken(name):
		report.Errorf(at, `use letters, digits and "-"`, "%q cannot be the name of a field", name)
	case id != stream.Unknown:
		report.Errorf(at, "write a name of your own, such as X-User", "%q means something else", name)
	case stream.Owned(name) && stream.Owner(&stream.Field{Name: name}) != stream.OwnedVouched:
		report.Errorf(at, "write a name of your own, such as X-User", "%q is written by Weir, so that upstreams can rely on it", name)
	case slices.ContainsFunc(seen, func(other string) bool { return stream.EqualLoose(other, name) }):
		report.Errorf(at, "give each its own", "%q is written twice, as upstreams read it", name)
	}
}

func checkDemands(s *Settings, report *config.Report) {
	for i, scope := range s.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\") || stream.BadValueByte(scope) >= 0 {
			report.Errorf(fmt.Sprintf("scopes[%d]", i), "write one scope, such as read", "%q is no scope (RFC 6749 section 3.3)", scope)
		}
	}
	if len(s.Scopes) > maxList || len(s.Require) > maxList {
		report.Errorf("require", "join them", "more than %d scopes or claims are demanded", maxList)
	}
	for i, r := range s.Require {
		if _, err := stream.ParseClaimName(r.Claim); err != nil {
			report.Errorf(fmt.Sprintf("require[%d].claim", i), "", "%v", err)
		}
	}
}

func (i *Issuer) check(report *config.Report) {
	switch {
	case len(i.Audiences) == 0 && !i.AnyAudience:
		report.Errorf("audiences", "name this service as the issuer knows it; any_audience: true takes tokens for all others, too",
			"nothing says whom tokens must be for: one that was made for another service would be good here")
	case len(i.Audiences) > 0 && i.AnyAudience:
		report.Errorf("any_audience", "keep one of them", "audiences and any_audience are both written")
	case i.AnyAudience:
		report.Warnf("any_audience", "name audiences", "a token that was made for another service is good here")
	}
	for n, algorithm := range i.Algorithms {
		if at := fmt.Sprintf("algorithms[%d]", n); !slices.Contains(keys.Algorithms(), algorithm) {
			report.Errorf(at, "there are "+strings.Join(keys.Algorithms(), ", "),
				"algorithm %q is not taken: only signatures that public keys verify are", algorithm)
		}
	}
	i.Keys.check(report.Below("keys"))
}

func (k *Keys) check(report *config.Report) {
	var written []string
	for _, way := range [][2]string{{"file", k.File}, {"inline", k.Inline}, {"url", k.URL}} {
		if way[1] != "" {
			written = append(written, way[0])
		}
	}
	switch {
	case len(written) == 0:
		report.Errorf("", "write {file: PATH}, {url: URL, cluster: NAME} or {inline: JSON}", "there are no keys to verify tokens with")
	case len(written) > 1:
		report.Errorf(written[1], "keep one", "keys have both %s and %s", written[0], written[1])
	case k.URL != "":
		k.checkURL(report)
	case k.Cluster != "":
		report.Errorf("cluster", "write url, too", "cluster %q serves nothing here without a url", k.Cluster)
	}
}

func (k *Keys) checkURL(report *config.Report) {
	u, err := url.Parse(k.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		report.Errorf("url", "write https://HOST/PATH", "%q is no URL of a key set", k.URL)
	case u.Scheme == "http" && k.Insecure:
		report.Warnf("insecure", "use https", "whoever is between Weir and the issuer can make tokens")
	case u.Scheme != "https":
		report.Errorf("url", "write https, or insecure: true", "keys that come over %q may be anybody's", u.Scheme)
	}
	if err == nil {
		if _, fault := stream.ParseTarget("", "GET", k.URL, ""); fault != nil {
			report.Errorf("url", "write https://HOST/PATH", "%q cannot be asked for: %v", k.URL, fault)
		}
	}
	if k.Cluster == "" {
		report.Errorf("cluster", "write the name of the cluster whose endpoints serve the url", "the keys are fetched through a cluster, and none is named")
	}
	for _, d := range []struct {
		name       string
		now        config.Duration
		least, max time.Duration
	}{
		{"refresh", k.Refresh, time.Second, 24 * time.Hour}, {"stale", k.Stale, time.Second, 30 * 24 * time.Hour},
		{"cooldown", k.Cooldown, time.Second, time.Hour}, {"timeout", k.Timeout, time.Millisecond, time.Minute},
	} {
		if at := time.Duration(d.now); at < d.least || at > d.max {
			report.Errorf(d.name, "leave it out for the default", "%s is not within %s and %s", d.now, config.Duration(d.least), config.Duration(d.max))
		}
	}
	if k.Stale < k.Refresh {
		report.Errorf("stale", "write a longer time than refresh", "the keys would be too old (%s) before they are fetched again (%s)", k.Stale, k.Refresh)
	}
}

// load reads the sets that do not change, to report what is wrong with them.
func load(s *Settings, read filter.Reader, report *config.Report) {
	for i := range s.Issuers {
		k, at := &s.Issuers[i].Keys, report.Below(fmt.Sprintf("issuers[%d].keys", i))
		where := "inline"
		switch {
		case k.URL != "":
			continue
		case k.File != "":
			where = "file"
			content, err := read(k.File)
			if err != nil {
				at.Errorf(where, "write a path relative to the document", "the keys cannot be read: %v", err)
				continue
			}
			k.Content = content
		default:
			k.Content = []byte(k.Inline)
		}
		if len(k.Content) > int(k.MaxSize) {
			at.Errorf(where, "raise max_size", "the key set has %d bytes, more than %s", len(k.Content), k.MaxSize)
			continue
		}
		set, err := keys.ParseSet(k.Content)
		if err != nil {
			at.Errorf(where, "write the public keys of the issuer as a JSON Web Key Set (RFC 7517)", "the key set: %v", err)
		} else if n := set.Skipped(); n > 0 {
			at.Warnf(where, "", "%d keys of the set cannot verify signatures and are left out", n)
		}
	}
}
