package examples

import (
	"strings"
	"testing"
)

func setupBusy(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("shop"))}
}

// proveBusy: while there is enough of everything nothing is done, and the page
// says what is looked at.
func proveBusy(t *testing.T, x *running) {
	x.addrs["admin"] = x.dir + "/admin.sock"
	for _, path := range []string{"/", "/reports", "/pay"} {
		x.want(path, x.get(path), 200)
	}
	state := x.ask(call{listener: "admin", path: "/overload"})
	for _, part := range []string{`"name":"memory"`, `"name":"descriptors"`, `"name":"connections"`, `"name":"delay"`, `"reset":0`} {
		if !strings.Contains(state.body, part) {
			t.Errorf("no %s in %s", part, state.body)
		}
	}
}
