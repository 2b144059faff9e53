package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example says how a document is made to run here and what it has to do.
type example struct {
	// setup starts the upstreams and returns what to put in the place of each
	// fixed text of the document.
	setup    func(t *testing.T) map[string]string
	prove    func(t *testing.T, x *running)
	warnings int // of weir check; the comment of the example explains them
}

// public is where the listener named public stands in most examples.
const public = "127.0.0.1:8080"

// anywhere lets the system choose the port.
const anywhere = "127.0.0.1:0"

// oneUpstream is the setup of examples with one upstream, which echoes.
func oneUpstream(t *testing.T) map[string]string {
	return map[string]string{public: anywhere, "127.0.0.1:9001": serve(t, echo("9001"))}
}

func table() map[string]example {
	return map[string]example{
		"quickstart.yaml":       {setup: setupQuickstart, prove: proveQuickstart},
		"tls.yaml":              {setup: setupTLS, prove: proveTLS},
		"mtls.yaml":             {setup: setupMTLS, prove: proveMTLS},
		"https-upstream.yaml":   {setup: setupHTTPSUpstream, prove: proveHTTPSUpstream},
		"canary.yaml":           {setup: setupCanary, prove: proveCanary},
		"mirror.yaml":           mirror(),
		"retries.yaml":          {setup: setupRetries, prove: proveRetries},
		"health.yaml":           health(),
		"health-redis.yaml":     redisHealth(),
		"outliers.yaml":         outliers(),
		"balancing.yaml":        balancing(),
		"load-reports.yaml":     {setup: setupLoadReports, prove: proveLoadReports},
		"sticky.yaml":           stickySessions(),
		"headers.yaml":          {setup: oneUpstream, prove: proveHeaders},
		"rewrite-redirect.yaml": {setup: oneUpstream, prove: proveRewriteRedirect},
		"maintenance.yaml":      {setup: oneUpstream, prove: proveMaintenance, warnings: 1},
		"dns.yaml":              {setup: setupDNS, prove: proveDNS},
		"unix-socket.yaml":      {setup: setupUnixSocket, prove: proveUnixSocket},
		"trusted-proxy.yaml":    {setup: setupTrustedProxy, prove: proveTrustedProxy},
		"access-log.yaml":       {setup: setupAccessLog, prove: proveAccessLog},
		"hardening.yaml":        {setup: setupHardening, prove: proveHardening},
		"websocket.yaml":        {setup: setupWebSocket, prove: proveWebSocket},
		"http2-h2c.yaml":        {setup: setupHTTP2, prove: proveHTTP2},
		"http3.yaml":            {setup: setupHTTP3, prove: proveHTTP3},
		"grpc.yaml":             {setup: setupGRPC, prove: proveGRPC},
		"grpc-web.yaml":         {setup: setupGRPC, prove: proveGRPCWeb},
		"grpc-json.yaml":        {setup: setupGRPC, prove: proveGRPCJSON},
		"connect-proxy.yaml":    {setup: setupConnectProxy, prove: proveConnectProxy},
		"tcp.yaml":              {setup: setupTCP, prove: proveTCP},
		"tls-passthrough.yaml":  {setup: setupPassthrough, prove: provePassthrough},
		"proxy-protocol.yaml":   {setup: setupProxyProtocol, prove: proveProxyProtocol},
		"detect.yaml":           {setup: setupDetect, prove: proveDetect},
		"udp-dns.yaml":          {setup: setupUDP, prove: proveUDP},
		"framed-service.yaml":   {setup: setupFramedService, prove: proveFramedService},
		"framed-listener.yaml":  {setup: setupFramedListener, prove: proveFramedListener},
		"overload.yaml":         overload(),
		"busy.yaml":             {setup: setupBusy, prove: proveBusy},
		"endpoint-limits.yaml":  endpointLimits(),
		"hedging.yaml":          {setup: setupHedging, prove: proveHedging},
		"rollout.yaml":          {setup: setupRollout, prove: proveRollout},
		"fault.yaml":            {setup: oneUpstream, prove: proveFault},
		"cache.yaml":            cache(),
		"compression.yaml":      {setup: setupCompression, prove: proveCompression},
		"geo.yaml":              {setup: setupTwo, prove: proveGeo},
		"jwt.yaml":              {setup: setupTwo, prove: proveJWT},
		"limits.yaml":           {setup: setupLimits, prove: proveLimits},
		"rate-limit-grpc.yaml":  {setup: setupRateLimitService, prove: proveRateLimitService},
		"rate-limit-redis.yaml": {setup: setupRateLimitShared, prove: proveRateLimitShared},
		"rate-limit.yaml":       {setup: oneUpstream, prove: proveRateLimit},
	}
}

func TestExamples(t *testing.T) {
	examples := table()
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(examples) {
		t.Errorf("%d examples, %d in the table", len(files), len(examples))
	}
	list, err := os.ReadFile("../../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			e, ok := examples[name]
			if !ok {
				t.Fatalf("nothing proves %s: add it to the table", name)
			}
			if !strings.Contains(string(list), "("+name+")") {
				t.Errorf("examples/README.md does not list it")
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(content), "# ") || !strings.Contains(string(content), "ry it") {
				t.Errorf("the first lines do not say how to try it")
			}
			if out := check(t, string(content)); strings.Count(out, ": warning: ") != e.warnings {
				t.Errorf("want %d warnings:\n%s", e.warnings, out)
			}
			e.prove(t, start(t, relocate(t, string(content), e.setup(t))))
		})
	}
}
