package tlsedge

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/stream"
)

// inPieces sends every write in segments of n bytes, and breaks the first
// record into records of n bytes.
type inPieces struct {
	net.Conn
	n       int
	records bool
	first   bool
}

func (p *inPieces) Write(b []byte) (int, error) {
	if p.records && !p.first {
		p.first = true
		var out []byte
		for payload := b[5:]; len(payload) > 0; {
			n := min(p.n, len(payload))
			out = append(out, b[0], b[1], b[2], byte(n>>8), byte(n))
			out = append(out, payload[:n]...)
			payload = payload[n:]
		}
		_, err := p.Conn.Write(out)
		return len(b), err
	}
	for rest := b; len(rest) > 0; {
		n := min(p.n, len(rest))
		if _, err := p.Conn.Write(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

// TestFragmentedHello: the name, and with it the certificate and the policy
// for client certificates, is the same however the hello is cut
// (CVE-2026-32305).
func TestFragmentedHello(t *testing.T) {
	ca := newAuthority(t, "ca")
	named := ca.issue([]string{"api.example.com"})
	server := newSite(ca.issue([]string{"default.example"}), named).clients("require", ca).server(t)
	for _, records := range []bool{false, true} {
		for _, n := range []int{1, 7, 100} {
			cut := func(nc net.Conn) net.Conn { return &inPieces{Conn: nc, n: n, records: records} }
			client := &tls.Config{ServerName: "API.example.com", RootCAs: ca.pool}
			if out := meetOver(t, server, client, cut); out.serverErr == nil {
				t.Errorf("%d bytes, records %v: came in without a certificate", n, records)
			}
			client.Certificates = []tls.Certificate{ca.issue(nil).TLS()}
			out := meetOver(t, server, client, cut)
			if out.serverErr != nil || out.clientErr != nil {
				t.Errorf("%d bytes, records %v: %v, %v", n, records, out.serverErr, out.clientErr)
				continue
			}
			if !out.client.PeerCertificates[0].Equal(named.Leaf) || out.facts.ServerName != "api.example.com" || out.facts.Client == nil {
				t.Errorf("%d bytes, records %v: facts are %+v", n, records, out.facts)
			}
		}
	}
}

// TestHugeClientKey: a key that costs seconds to verify with is refused before
// it is used (CVE-2023-29409).
func TestHugeClientKey(t *testing.T) {
	ca := newAuthority(t, "ca")
	huge := ca.issueFor(newHugeRSA(16384), nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := newSite(ca.issue([]string{"a.example"})).clients("require", ca).server(t)
		client := &tls.Config{ServerName: "a.example", RootCAs: ca.pool, MaxVersion: version}
		showing(huge)(client)
		wantReason(t, server, meet(t, server, client).serverErr, BadClientCertificate)
	}
}

// TestExcludedSubtree: the name constraints of an authority hold for clients.
func TestExcludedSubtree(t *testing.T) {
	ca := newAuthority(t, "ca", func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"admin.example"} })
	for _, tt := range []struct {
		name string
		good bool
	}{{"user.example", true}, {"x.admin.example", false}, {"X.ADMIN.example", false}} {
		server := newSite(newAuthority(t, "own").issue([]string{"a.example"})).clients("require", ca).server(t)
		client := &tls.Config{ServerName: "a.example", InsecureSkipVerify: true}
		showing(ca.issue([]string{tt.name}))(client)
		out := meet(t, server, client)
		if tt.good && out.serverErr != nil {
			t.Errorf("%s: %v", tt.name, out.serverErr)
		}
		if !tt.good {
			wantReason(t, server, out.serverErr, BadClientCertificate)
		}
	}
}

// keyUpdates makes records that each hold a KeyUpdate, from the traffic secret
// of a client (RFC 8446 sections 4.6.3, 5.2 and 7.2). TLS_AES_128_GCM_SHA256.
type keyUpdates struct{ secret []byte }

func (k *keyUpdates) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, k.secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

func (k *keyUpdates) next() []byte {
	block, err := aes.NewCipher(k.expand("key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	// The number of the record is 0 under each key, so the nonce is the IV.
	inner := []byte{24, 0, 0, 1, 0, 22} // key_update, update_not_requested; handshake
	header := []byte{23, 3, 3, 0, byte(len(inner) + aead.Overhead())}
	record := aead.Seal(bytes.Clone(header), k.expand("iv", 12), inner, header)
	k.secret = k.expand("traffic upd", sha256.Size)
	return record
}

// TestKeyUpdateFlood: a client that does nothing but update keys is cut off
// after a few (CVE-2026-32283, CVE-2026-56862).
func TestKeyUpdateFlood(t *testing.T) {
	ca := newAuthority(t, "ca")
	server := newSite(ca.issue([]string{"a.example"})).server(t)
	near, far := connect(t)
	defer near.Close()
	ended := make(chan error, 1)
	go func() {
		defer far.Close()
		nc, err := server.Handshake(context.Background(), far, &stream.Conn{})
		if err == nil {
			nc.Write([]byte("x"))
			_, err = io.Copy(io.Discard, nc)
		}
		ended <- err
	}()
	var keys strings.Builder
	tc := tls.Client(near, &tls.Config{ServerName: "a.example", RootCAs: ca.pool, KeyLogWriter: &keys})
	if _, err := tc.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if suite := tc.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the suite is %s here", tls.CipherSuiteName(suite))
	}
	flood := &keyUpdates{secret: trafficSecret(t, keys.String())}
	near.SetWriteDeadline(time.Now().Add(10 * time.Second))
	for range 1000 {
		if _, err := near.Write(flood.next()); err != nil {
			break // cut off
		}
	}
	near.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "too many non-advancing records") {
		t.Errorf("the connection ended with %v", err)
	}
}

func trafficSecret(t *testing.T, log string) []byte {
	for _, line := range strings.Split(log, "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatalf("no traffic secret in %q", log)
	return nil
}

// FuzzHello: no bytes of a client end in anything but a counted failure.
func FuzzHello(f *testing.F) {
	ca := newAuthority(f, "ca")
	site := newSite(ca.issue([]string{"a.example"})).clients("require", ca)
	server := site.server(f)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		near, far := connect(t)
		go func() {
			near.Write(sent)
			near.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, near)
			near.Close()
		}()
		if _, err := server.Handshake(context.Background(), far, &stream.Conn{}); err == nil {
			t.Error("noise became a handshake")
		}
		far.Close()
	})
}
