package interop

import (
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/weirproxy/weir/test/process"
)

// TestMain turns extended CONNECT on, which the HTTP/2 of Go speaks only when
// it is told by this variable before the program begins.
func TestMain(m *testing.M) {
	const setting = "http2xconnect=1"
	if debug := os.Getenv("GODEBUG"); !strings.Contains(debug, setting) {
		environment := append(os.Environ(), "GODEBUG="+strings.TrimPrefix(debug+","+setting, ","))
		if err := syscall.Exec(os.Args[0], os.Args, environment); err != nil {
			panic(err)
		}
	}
	// The cells wait most of the time: for each other, and for timeouts to end.
	flag.Parse()
	if err := flag.Set("test.parallel", "25"); err != nil {
		panic(err)
	}
	process.Main(m)
}
