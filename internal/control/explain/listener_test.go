package explain_test

import (
	"strings"
	"testing"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/control/explain"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/stream"
)

// TestUnknownNames: a listener may end the handshake before any route is asked.
func TestUnknownNames(t *testing.T) {
	tls := func(mode string) *snapshot.Snapshot {
		return &snapshot.Snapshot{Listeners: []*snapshot.Listener{{
			Spec:    config.Listener{Name: "public", Address: ":443", TLS: &config.ListenerTLS{UnknownName: mode, ClientCertificate: config.ClientCertificate{Mode: "require"}}},
			Network: "tcp", Address: ":443",
			TLS: &snapshot.ListenerTLS{Certificates: []snapshot.KeyPair{{Names: []string{"a.example.com", "*.b.example.com"}}}},
		}}}
	}
	stages := explain.Stages{Find: func(string, *stream.Request) []explain.Candidate { return nil }}
	for _, c := range []struct{ mode, host, refused string }{
		{"refuse", "a.example.com", "no route matches"},
		{"refuse", "x.b.example.com", "no route matches"},
		{"refuse", "x.y.b.example.com", "no certificate covers"},
		{"refuse", "b.example.com", "no certificate covers"},
		{"default", "b.example.com", "no route matches"},
	} {
		e, err := explain.Explain(tls(c.mode), explain.Query{Method: "GET", URL: "https://" + c.host + "/"}, stages)
		if err != nil || !strings.HasPrefix(e.Refused, c.refused) {
			t.Errorf("%s with %s: %q, %v", c.host, c.mode, e.Refused, err)
		}
		if !strings.Contains(e.String(), "without a certificate") {
			t.Errorf("%s: not a word of client certificates:\n%s", c.host, e)
		}
	}
}
