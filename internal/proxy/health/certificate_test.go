package health

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
)

// selfSigned is a certificate that is its own CA, until a time.
func selfSigned(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example"}, NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// TestTLS: the check follows a certificate to its end, verified or not.
func TestTLS(t *testing.T) {
	for _, verify := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			end := time.Now().Add(30 * time.Second)
			certificate, roots := selfSigned(t, end)
			dial := func(ctx context.Context, _ *endpoint.Endpoint) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}})
					_, _ = server.Read(make([]byte, 1)) // until the checker leaves
				}()
				client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "api.example", InsecureSkipVerify: !verify})
				if err := client.HandshakeContext(ctx); err != nil {
					near.Close()
					return nil, fmt.Errorf("tls_failed: %w", err)
				}
				return client, nil
			}
			cfg := spec()
			cfg.Type, cfg.Unhealthy = "tls", 1
			c, err := New(Config{Spec: cfg, Dial: dial})
			if err != nil {
				t.Fatal(err)
			}
			list := endpoints(1)
			c.Update(endpoint.NewSet(list))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ended := make(chan struct{})
			go func() { defer close(ended); c.Run(ctx) }()
			time.Sleep(29 * time.Second)
			if st := list[0].Status(time.Now()); st.Health != endpoint.Fit {
				t.Errorf("verified %v: %v (%s) before the end of the certificate", verify, st.Health, st.Reason)
			}
			time.Sleep(15 * time.Second)
			want := "the certificate of the endpoint expired on " + end.UTC().Format("2006-01-02 15:04 MST")
			if st := list[0].Status(time.Now()); st.Health != endpoint.Unfit || st.Reason != want {
				t.Errorf("verified %v: %v (%s), want unfit: %s", verify, st.Health, st.Reason, want)
			}
			<-ended
		})
	}
}

func TestTLSNeedsTLS(t *testing.T) {
	want := "the cluster speaks no TLS: add tls: {} to it, or write type: tcp"
	if got := reason(checkOnce(t, config.HealthCheck{Type: "tls"}, "")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCauses(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want endpoint.Cause
	}{
		{&tooLate{time.Second}, endpoint.ByTimeout},
		{&badStatus{"/", 500}, endpoint.ByStatus},
		{fmt.Errorf("x: %w", &expired{}), endpoint.ByHandshake},
		{fault("tls"), endpoint.ByHandshake},
		{fault("refused"), endpoint.ByConnect},
		{fault("timeout"), endpoint.ByTimeout},
		{errNotRedis, endpoint.ByAnswer},
	} {
		if got := causeOf(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
