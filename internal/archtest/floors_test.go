package archtest

import (
	"slices"
	"strings"
	"testing"
)

// The floors of the design, section 4. A package may import what stands on the
// floors below it; tools and words may import each other as long as Go allows.
const (
	words = iota
	contracts
	stages
	assemblies
	door
	commands
	tests // whole-program tests and benchmarks: may import anything
)

var floorNames = [...]string{"0 (words, tools)", "1 (contracts)", "2 (stages)", "3 (assemblies)", "4 (front door)", "5 (commands)", "tests"}

func floorOf(path string) int {
	switch {
	case path == "", path == "internal/cli": // docs/design/0001
		return door
	case strings.HasPrefix(path, "cmd/"):
		return commands
	case strings.HasPrefix(path, "test/"), strings.HasPrefix(path, "examples"), path == "internal/archtest":
		return tests
	case slices.Contains([]string{"internal/proxy/engine", "internal/control/plane", "filters/all"}, path):
		return assemblies
	case strings.HasPrefix(path, "internal/proxy/"), strings.HasPrefix(path, "internal/control/"), strings.HasPrefix(path, "filters/"):
		return stages
	case slices.Contains([]string{"filter", "filter/filtertest", "internal/snapshot", "internal/endpoint"}, path):
		return contracts
	default:
		return words
	}
}

func TestFloors(t *testing.T) {
	for _, p := range load(t) {
		own := floorOf(p.path)
		for path, file := range p.imports {
			target, ours := inside(path)
			if !ours || own == tests {
				continue
			}
			other := floorOf(target)
			switch {
			case other > own:
				t.Errorf("%s/%s imports %s: floor %s may not import floor %s; take what it needs as a small interface or function and let the assembler connect them",
					p.path, file, target, floorNames[own], floorNames[other])
			case own == stages && other == stages && !partOf(p.path, target):
				t.Errorf("%s/%s imports %s: stages never import each other, so that each can be read and tested alone; declare the one or two methods it needs and let engine or plane connect them",
					p.path, file, target)
			}
		}
	}
}

// partOf: a stage may have packages of its own below or above it.
func partOf(a, b string) bool {
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// doors names the one package through which a module comes in. Tests may
// import any of them. golang.org/x/sys is the system itself and has no door.
var doors = map[string]string{
	"go.yaml.in/yaml/v3":                        "config",
	"github.com/KimMachineGun/automemlimit":     "internal/pressure",
	"github.com/andybalholm/brotli":             "filters/compress",
	"github.com/dunglas/httpsfv":                "filters/cache/rule", // structured fields
	"github.com/fsnotify/fsnotify":              "internal/control/source/file",
	"github.com/go-jose/go-jose/v4":             "filters/jwt/keys",
	"github.com/klauspost/compress":             "filters/compress",
	"github.com/maypok86/otter/v2":              "filters/cache/store",
	"github.com/miekg/dns":                      "internal/proxy/resolve",
	"github.com/oschwald/maxminddb-golang/v2":   "internal/geo",
	"github.com/prometheus/client_golang":       "internal/proxy/record",
	"github.com/prometheus/client_model":        "internal/proxy/record",
	"github.com/quic-go/quic-go":                "internal/proxy/http3",
	"github.com/redis/rueidis":                  "internal/redis", // for all that proxies share: limits today
	"github.com/spf13/cobra":                    "internal/cli",
	"golang.org/x/net":                          "internal/proxy/http2", // HPACK and the constants of frames
	"google.golang.org/genproto/googleapis/api": "filters/transcode",
	"google.golang.org/protobuf":                "filters/transcode",
}

func TestOneDoorPerDependency(t *testing.T) {
	for _, p := range load(t) {
		for path, file := range p.imports {
			if _, ours := inside(path); ours || standard(path) || strings.HasPrefix(path, "golang.org/x/sys/") || floorOf(p.path) == tests {
				continue
			}
			at, known := doorOf(path)
			if !known {
				t.Errorf("%s/%s imports %s, which has no door: choose the one package that imports it and name it in doors", p.path, file, path)
			} else if p.path != at {
				t.Errorf("%s/%s imports %s: that module comes in through %s only", p.path, file, path, at)
			}
		}
	}
}

func doorOf(path string) (string, bool) {
	for mod, at := range doors {
		if path == mod || strings.HasPrefix(path, mod+"/") {
			return at, true
		}
	}
	return "", false
}

// TestRequestPathWithoutNetHTTP: net/http costs two to four times what the
// path may cost, and has its own view of a request.
func TestRequestPathWithoutNetHTTP(t *testing.T) {
	allowed := map[string]bool{
		"internal/proxy/admin":  true, // for operators, not on the request path
		"internal/proxy/record": true, // the handler of /metrics
		"internal/proxy/engine": true, // hands that handler to admin
	}
	for _, p := range load(t) {
		on := strings.HasPrefix(p.path, "internal/proxy/") || strings.HasPrefix(p.path, "filters/") || p.path == "stream"
		if file, has := p.imports["net/http"]; on && has && !allowed[p.path] {
			t.Errorf("%s/%s imports net/http: nothing on the request path may", p.path, file)
		}
	}
}
