package fault

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/filter/filtertest"
)

func TestCheck(t *testing.T) {
	const some = "abort: {share: 0.1, status: 503}, "
	for _, c := range []struct{ settings, what string }{
		{"{}", "no fault to inject"},
		{"{mode: shadwo, abort: {share: 0.1, status: 503}}", `"shadwo" is not known`},
		{"{abort: {status: 503}}", "a share of 0"},
		{"{abort: {share: 1.5, status: 503}}", "more than 1"},
		{"{abort: {share: -0.1, status: 503}}", "less than 0"},
		{"{abort: {share: 0.1}}", "abort does not say how"},
		{"{abort: {share: 0.1, status: 503, reset: true}}", "said in 2 ways: status, reset"},
		{"{abort: {share: 0.1, status: 200}}", "200 is no status of a failure"},
		{"{abort: {share: 0.1, status: 600}}", "600 is no status"},
		{"{abort: {share: 0.1, grpc: ok}}", `"ok" is no status of a failure in gRPC`},
		{"{abort: {share: 0.1, grpc: unreachable}}", `"unreachable"`},
		{"{abort: {share: 0.1, slow: {}}}", "bytes_per_second"},
		{"{abort: {share: 0.1, slow: {bytes_per_second: 0}}}", "less than 1"},
		{"{delay: {share: 0.1}}", "delay does not say how"},
		{"{delay: {fixed: 1s}}", "a share of 0"},
		{"{delay: {share: 0.1, fixed: 1s, uniform: {max: 1s}}}", "fixed, uniform"},
		{"{delay: {share: 0.1, fixed: 0s}}", "delays nothing"},
		{"{delay: {share: 0.1, fixed: 31s}}", "31s is longer than delay.max, 30s"},
		{"{delay: {share: 0.1, fixed: 1s, max: 6m}}", "no longest time"},
		{"{delay: {share: 0.1, fixed: 1s, max: 0s}}", "no longest time"},
		{"{delay: {share: 0.1, uniform: {min: 1s, max: 1s}}}", "not less than max"},
		{"{delay: {share: 0.1, uniform: {max: 40s}}}", "longer than delay.max"},
		{"{delay: {share: 0.1, normal: {mean: 1s, deviation: 0s}}}", "without a deviation"},
		{"{delay: {share: 0.1, normal: {mean: 1m, deviation: 1s}}}", "longer than delay.max"},
		{"{delay: {share: 0.1, histogram: []}}", "0 buckets"},
		{"{delay: {share: 0.1, histogram: [{up_to: 1s, weight: 0}]}}", "no bucket has a weight"},
		{"{delay: {share: 0.1, histogram: [{up_to: 2s, weight: 1}, {up_to: 1s, weight: 1}]}}", "1s is not above 2s"},
		{"{delay: {share: 0.1, histogram: [{up_to: 2m, weight: 1}]}}", "longer than delay.max"},
		{"{delay: {share: 0.1, histogram: [" + strings.Repeat("{up_to: 1s, weight: 1}, ", 101) + "]}}", "101 buckets"},
		{"{delay: {share: 0.3, fixed: 1s}, abort: {share: 0.3, reset: true}}", "add up to 0.6, more than max_share, 0.5"},
		{"{" + some + "stop: {max_share: 0}}", "max_share"},
		{"{" + some + "stop: {after: 0s}}", "nobody ends are an outage"},
		{"{" + some + "stop: {after: 8d}}", "longer than"},
		{"{" + some + "stop: {max_active: 0}}", "less than 1"},
		{"{" + some + "header: 'X Fault'}", "cannot be the name"},
		{"{" + some + "header: Connection}", "belongs to the connection"},
		{"{" + some + "header: X-Weir-Fault}", "is Weir's"},
		{"{" + some + "when: {headers: [{name: 'a b'}]}}", "cannot be the name"},
		{"{" + some + "when: {headers: [{name: a, exact: b, prefix: c}]}}", "2 of exact, prefix"},
		{"{" + some + "when: {headers: [{name: a, regex: 'a)|(b'}]}}", "unexpected )"},
		{"{" + some + "when: {headers: [{name: a, regex: " + strings.Repeat("a", 1025) + "}]}}", "1025 bytes"},
		{"{" + some + "when: {clients: [10.0.0.0/33]}}", "no address range"},
		{"{" + some + "when: {clients: ['fe80::1%eth0']}}", "no address range"},
		{"{" + some + "when: {clients: [" + strings.Repeat("10.0.0.1, ", 101) + "]}}", "101 ranges"},
		{"{" + some + "when: {headers: [" + strings.Repeat("{name: a}, ", 21) + "]}}", "21 conditions"},
		{"{" + some + "when: {until: tomorrow}}", "no time"},
		{"{" + some + "when: {from: 2026-03-01T14:00:00Z, until: 2026-03-01T15:00:00+02:00}}", "ends before it begins"},
		{"{" + some + "start: {}}", "start"},
	} {
		problems := filtertest.Check(t, Definition(), c.settings)
		found := false
		for _, p := range problems {
			found = found || p.Severity == config.Error && strings.Contains(p.What, c.what) && p.Pos.Line == 1 &&
				(p.Fix != "" || strings.Contains(p.What, "; write"))
		}
		if !found || problems.Errors() != 1 {
			t.Errorf("%.90s: %v, want %q alone", c.settings, problems, c.what)
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	for _, settings := range []string{
		"{abort: {status: 503}, header: X-Fault}",
		"{abort: {share: 0.2, grpc: '14'}, delay: {share: 0.1, normal: {mean: 1s, deviation: 2s}}, stop: {max_share: 0.3}}",
		"{abort: {share: 1, truncate: 0}, stop: {max_share: 1, after: 7d}}",
		"{delay: {share: 0.5, uniform: {max: 1s}}, when: {clients: ['::ffff:10.0.0.0/104', 10.1.2.3], from: 2026-03-01T14:00:00+01:00}}",
	} {
		if problems := filtertest.Check(t, Definition(), settings); len(problems) > 0 {
			t.Errorf("%s: %v", settings, problems)
		}
	}
}

// The example of the README is a document as it stands there.
func TestReadme(t *testing.T) {
	_, rest, _ := strings.Cut(readme, "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	document, problems := config.Parse("README.md", []byte(example))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	used := document.Routes[0].Filters[0]
	settings := Definition().Decode(used.Settings, nil, config.NewReport("filter fault", used.Settings.At, &problems))
	if settings == nil || len(problems) > 0 || used.Name != "fault" {
		t.Fatalf("%s: %v", used.Name, problems)
	}
}
