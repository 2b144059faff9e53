package tlsedge

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"
)

// TestResumption: what a session must not survive (threats.md section 6,
// "Resumption crosses boundaries").
func TestResumption(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	a, b := ca.issue([]string{"a.example", "a2.example"}), ca.issue([]string{"b.example"})
	next := ca.issue([]string{"a.example", "a2.example"})
	me := ca.issue(nil)
	for _, tt := range []struct {
		name    string
		before  func() *site
		after   func() *site // nil: no change
		sni     string       // of the second connection
		resumed bool
		refused Reason // when not 0
	}{
		{name: "nothing changed", before: func() *site { return newSite(a, b).clients("require", ca) }, sni: "a.example", resumed: true},
		{name: "no client certificates", before: func() *site { return newSite(a, b) }, sni: "a.example", resumed: true},
		{name: "another name of the same certificate", before: func() *site { return newSite(a, b).clients("require", ca) }, sni: "a2.example", resumed: true},
		{name: "a name of another certificate", before: func() *site { return newSite(a, b).clients("require", ca) }, sni: "b.example"},
		{
			name: "a change that is not about trust", before: func() *site { return newSite(a, b) },
			after: func() *site { s := newSite(a, b); s.Spec.MaxHandshakes = 7; return s }, sni: "a.example", resumed: true,
		},
		{
			name: "certificate rotated", before: func() *site { return newSite(a, b).clients("require", ca) },
			after: func() *site { return newSite(next, b).clients("require", ca) }, sni: "a.example",
		},
		{
			name: "CA rotated", before: func() *site { return newSite(a, b).clients("require", ca) },
			after: func() *site { return newSite(a, b).clients("require", other) }, sni: "a.example", refused: BadClientCertificate,
		},
		{
			name: "CA rotated, optional", before: func() *site { return newSite(a, b).clients("optional", ca) },
			after: func() *site { return newSite(a, b).clients("optional", other) }, sni: "a.example", refused: BadClientCertificate,
		},
		{
			name: "from optional to require", before: func() *site { return newSite(a, b).clients("optional", ca) },
			after: func() *site { return newSite(a, b).clients("require", ca) }, sni: "a.example",
		},
		{
			name: "from off to optional", before: func() *site { return newSite(a, b) },
			after: func() *site { return newSite(a, b).clients("optional", ca) }, sni: "a.example",
		},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+" "+tls.VersionName(version), func(t *testing.T) {
				server := tt.before().server(t)
				sessions := &oneSession{}
				// A client that verifies would not offer the session to another name.
				client := &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: sessions}
				showing(me)(client)
				if out := meet(t, server, client); out.serverErr != nil || out.clientErr != nil || out.facts.Resumed {
					t.Fatalf("first: %v, %v", out.serverErr, out.clientErr)
				}
				if sessions.state == nil {
					t.Fatal("the client got no session")
				}
				if tt.after != nil {
					if err := server.Update(tt.after().Config); err != nil {
						t.Fatal(err)
					}
				}
				client = client.Clone()
				client.ServerName = tt.sni
				out := meet(t, server, client)
				if tt.refused != Other {
					wantReason(t, server, out.serverErr, tt.refused)
					return
				}
				if out.serverErr != nil || out.clientErr != nil {
					t.Fatalf("second: %v, %v", out.serverErr, out.clientErr)
				}
				if out.facts.Resumed != tt.resumed {
					t.Errorf("resumed: %v", out.facts.Resumed)
				}
				if wants := clientAuthOf(server) != tls.NoClientCert; wants != (out.facts.Client != nil) {
					t.Errorf("the identity is %+v", out.facts.Client)
				}
			})
		}
	}
}

func clientAuthOf(s *Server) tls.ClientAuthType {
	return s.state.Load().lookup("a.example").config.ClientAuth
}

// oneSession offers its one session to whatever name is asked for, as a
// hostile client would.
type oneSession struct{ state *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool)  { return o.state, o.state != nil }
func (o *oneSession) Put(_ string, state *tls.ClientSessionState) { o.state = state }

// TestWithoutCertificateAfterRequire: a session that was made without a client
// certificate is worth nothing where one is required.
func TestWithoutCertificateAfterRequire(t *testing.T) {
	ca := newAuthority(t, "ca")
	own := ca.issue([]string{"a.example"})
	for _, before := range []string{"off", "optional"} {
		server := newSite(own).clients(before, ca).server(t)
		client := &tls.Config{ServerName: "a.example", RootCAs: ca.pool, ClientSessionCache: &oneSession{}}
		if out := meet(t, server, client); out.serverErr != nil || out.clientErr != nil {
			t.Fatal(out.serverErr, out.clientErr)
		}
		if err := server.Update(newSite(own).clients("require", ca).Config); err != nil {
			t.Fatal(err)
		}
		wantReason(t, server, meet(t, server, client).serverErr, NoClientCertificate)
	}
}

// TestTicketKeysAge: a ticket opens for one epoch after its own, not longer.
func TestTicketKeysAge(t *testing.T) {
	for _, tt := range []struct {
		after   time.Duration
		resumed bool
	}{
		{time.Hour, true},
		{ticketEpoch, true},
		{2*ticketEpoch - time.Hour, true},
		{2 * ticketEpoch, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ca := newAuthority(t, "ca")
			server := newSite(ca.issue([]string{"a.example"})).server(t)
			client := &tls.Config{ServerName: "a.example", RootCAs: ca.pool, ClientSessionCache: &oneSession{}}
			if out := meetInBubble(t, server, client); out.serverErr != nil || out.clientErr != nil {
				t.Fatal(out.serverErr, out.clientErr)
			}
			time.Sleep(tt.after)
			out := meetInBubble(t, server, client)
			if out.serverErr != nil || out.clientErr != nil || out.facts.Resumed != tt.resumed {
				t.Errorf("after %v: resumed %v (%v, %v)", tt.after, out.facts != nil && out.facts.Resumed, out.serverErr, out.clientErr)
			}
		})
	}
}
