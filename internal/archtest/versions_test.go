package archtest

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// floorVersions are the lowest versions without the vulnerabilities named
// beside them. A module counts only where go.mod lists it.
var floorVersions = map[string]struct{ version, because string }{
	"golang.org/x/net":                   {"v0.55.0", "CVE-2026-39821, CVE-2026-33814, CVE-2026-27141"},
	"google.golang.org/grpc":             {"v1.82.1", "CVE-2026-33186, GO-2026-6061"},
	"github.com/quic-go/quic-go":         {"v0.59.1", "CVE-2026-40898, CVE-2025-64702"},
	"github.com/quic-go/webtransport-go": {"v0.11.1", "CVE-2026-57497"},
	"github.com/go-jose/go-jose/v4":      {"v4.1.4", "CVE-2026-34986"},
	"golang.org/x/crypto":                {"v0.52.0", "records of ssh and ocsp"},
	"github.com/go-acme/lego/v4":         {"v4.34.0", "CVE-2026-40611"},
}

var requirement = regexp.MustCompile(`(?m)^\s*(?:require\s+)?([a-z0-9.]+\.[a-z]+/\S+) (v\d+\.\d+\.\d+\S*)`)

func TestVersionFloors(t *testing.T) {
	content, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := requirement.FindAllStringSubmatch(string(content), -1)
	if len(found) < 5 {
		t.Fatalf("read %d requirements from go.mod: the pattern is broken", len(found))
	}
	for _, m := range found {
		if floor, ok := floorVersions[m[1]]; ok && older(m[2], floor.version) {
			t.Errorf("go.mod requires %s %s; %s or later is needed (%s)", m[1], m[2], floor.version, floor.because)
		}
	}
}

// TestToolchainFloor: CVE-2026-56853, -56860, -56862, -33818, -39821.
func TestToolchainFloor(t *testing.T) {
	version := strings.Replace(runtime.Version(), "go", "v", 1)
	if older(version, "v1.25.13") || !older(version, "v1.26.0") && older(version, "v1.26.6") {
		t.Errorf("built with %s; Go 1.25.13 or 1.26.6 or later is needed (CVE-2026-56853 and others)", runtime.Version())
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"v1.2.3", "v1.2.3", false}, {"v1.2.3", "v1.2.4", true}, {"v1.10.0", "v1.9.9", false},
		{"v0.0.0-2026", "v0.0.1", true}, {"v1.26", "v1.26.6", true},
	} {
		if got := older(c.a, c.b); got != c.want {
			t.Errorf("older(%s, %s) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// older compares the three numbers of two versions; what follows them is ignored.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

var digits = regexp.MustCompile(`\d+`)

func numbers(version string) (n [3]int) {
	core, _, _ := strings.Cut(version, "-")
	for i, d := range digits.FindAllString(core, 3) {
		n[i], _ = strconv.Atoi(d)
	}
	return n
}
