package archtest

import (
	"os/exec"
	"sort"
	"strings"
	"testing"
)

// linked are the modules that the weir binary may contain: it runs as a
// sidecar, where each megabyte counts as often as there are pods. A new one is
// a decision to be written down.
var linked = []string{
	"github.com/beorn7/perks", "github.com/cespare/xxhash/v2", "github.com/munnerz/goautoneg", "github.com/pandatix/go-abnf", // of client_golang
	"github.com/andybalholm/brotli", "github.com/klauspost/compress", // filter compress: Brotli and Zstandard are not in the standard library
	"github.com/dunglas/httpsfv", // filter cache: structured fields
	"github.com/fsnotify/fsnotify",
	"github.com/go-jose/go-jose/v4",                                     // filter jwt: signatures and the keys for them are nobody's first try
	"github.com/KimMachineGun/automemlimit", "github.com/pbnjay/memory", // the memory of the cgroup or the machine, for overload
	"github.com/oschwald/maxminddb-golang/v2",  // geo: the format of the databases that there are
	"github.com/maypok86/otter/v2",             // filter cache: what to evict is a science of its own, and a lock for all of it would be shared by all connections
	"github.com/miekg/dns", "golang.org/x/net", // x/net: of miekg/dns
	"github.com/quic-go/quic-go", "golang.org/x/crypto", // HTTP/3; x/crypto: of quic-go
	"github.com/prometheus/client_golang", "github.com/prometheus/client_model", "github.com/prometheus/common",
	"github.com/prometheus/procfs", "google.golang.org/protobuf",
	"github.com/redis/rueidis", // limits that proxies share: 0.9 MB; an own client would have to speak clusters, TLS and two protocols
	"github.com/spf13/cobra", "github.com/spf13/pflag",
	"go.yaml.in/yaml/v3",
	"golang.org/x/sys",
	"google.golang.org/genproto/googleapis/api", // filter transcode: the google.api.http annotation of methods
}

func TestSlimBinary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module+"/cmd/weir").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	allowed := map[string]bool{"": true, module: true}
	for _, m := range linked {
		allowed[m] = true
	}
	found := map[string]bool{}
	for _, m := range strings.Split(string(out), "\n") {
		if !allowed[m] {
			found[m] = true
		}
	}
	var extra []string
	for m := range found {
		extra = append(extra, m)
	}
	sort.Strings(extra)
	for _, m := range extra {
		t.Errorf("the weir binary links %s: is it worth its size in every sidecar? If so, say so in linked", m)
	}
}
