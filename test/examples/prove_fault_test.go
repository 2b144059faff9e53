package examples

import (
	"path/filepath"
	"strings"
	"testing"
)

func proveFault(t *testing.T, x *running) {
	x.want("none", x.get("/", "X-Fault", "none"), 200)
	a := x.get("/", "X-Fault", "abort")
	x.want("abort", a, 503)
	x.equal("abort", a.header.Get("Proxy-Status"), `weir; error=proxy_internal_response; details="fault_injected"`)
	a = x.get("/", "X-Fault", "delay=20ms")
	x.want("delay", a, 200)
	x.equal("delay", a.header.Get("Proxy-Status"), `weir; details="fault_injected: delay"`)
	x.want("large", x.get("/large"), 200)
	if a, err := x.try(call{method: "GET", path: "/large", header: map[string]string{"X-Fault": "abort"}}); err == nil {
		t.Errorf("large is whole: %+v", a)
	}
	x.addrs["admin"] = filepath.Join(x.dir, "admin.sock")
	a = x.ask(call{listener: "admin", path: "/filters/fault"})
	if !strings.Contains(a.body, `"running"`) || !strings.Contains(a.body, `"large"`) {
		t.Errorf("what operators see: %s", a.body)
	}
	x.want("stop", x.ask(call{
		listener: "admin", method: "POST", path: "/filters/fault/stop", header: map[string]string{"Content-Type": "application/json"},
	}), 200)
	for range 20 {
		x.want("stopped", x.get("/", "X-Fault", "abort"), 200)
	}
	x.want("large, stopped", x.get("/large", "X-Fault", "abort"), 200)
}
