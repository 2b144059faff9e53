package redis

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/redis/redistest"
	"github.com/weirproxy/weir/test/testcert"
)

// files writes an authority, and a certificate and a key of it for store.test.
func files(t *testing.T, prefix, dir string) (ca, cert, key string) {
	t.Helper()
	authority, err := testcert.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: prefix}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := testcert.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: prefix + " store"}, DNSNames: []string{"store.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, authority)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, prefix+"-"+name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("ca.pem", authority.CertPEM()), write("cert.pem", pair.CertPEM()), write("key.pem", pair.KeyPEM())
}

// settingsOf are the options that a document makes.
func settingsOf(t *testing.T, s *config.Redis) Options {
	t.Helper()
	var problems config.Problems
	report := config.NewReport("test", func(string) config.Pos { return config.Pos{} }, &problems)
	Check(s, report)
	loaded := Load(s, os.ReadFile, report)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return From(s, &loaded)
}

// TestTLS: who does not have a certificate of the authority, under the name, is
// not the store; and the store may ask who we are.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := files(t, "ours", dir)
	otherCA, otherCert, otherKey := files(t, "theirs", dir)
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := func(path string) *config.Secret { return &config.Secret{File: path} }
	certificate := func(cert, key string) *config.Certificate {
		return &config.Certificate{Cert: config.Secret{File: cert}, Key: config.Secret{File: key}}
	}
	for _, c := range []struct {
		name    string
		clients bool // the store wants certificates
		tls     config.RedisTLS
		refused string // "": it works
	}{
		{"of the authority, under the name", false, config.RedisTLS{CA: secret(ca), ServerName: "store.test"}, ""},
		{"of another authority", false, config.RedisTLS{CA: secret(otherCA), ServerName: "store.test"}, "unknown authority"},
		{"unknown to the system", false, config.RedisTLS{ServerName: "store.test"}, "unknown authority"},
		{"under another name", false, config.RedisTLS{CA: secret(ca), ServerName: "elsewhere.test"}, "not elsewhere.test"},
		{"under the address", false, config.RedisTLS{CA: secret(ca)}, "127.0.0.1"},
		{"with a certificate of ours", true, config.RedisTLS{CA: secret(ca), ServerName: "store.test", Certificate: certificate(cert, key)}, ""},
		{"without a certificate of ours", true, config.RedisTLS{CA: secret(ca), ServerName: "store.test"}, "cannot be reached yet"},
		{"with a certificate of others", true, config.RedisTLS{CA: secret(ca), ServerName: "store.test", Certificate: certificate(otherCert, otherKey)}, "cannot be reached yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, log := redistest.NewTLS(t, cert, key, ca, c.clients, "--requirepass", "swordfish"), redistest.NewLog()
			server.Start()
			client := keep(t, settingsOf(t, &config.Redis{Addresses: []string{server.Address()}, Password: secret(password), TLS: &c.tls}), log)
			if c.refused != "" {
				log.Await(t, "cannot be reached yet", 1)
				if text := log.String(); !strings.Contains(text, c.refused) || client.Up() {
					t.Errorf("the log says %s", text)
				}
				return
			}
			log.Await(t, "the store is reached", 1)
			run(t, client, 2)
			server.Kill()
			for client.Up() {
				_, _ = client.Run(context.Background(), plus, "k", []string{"2"})
			}
			server.Start()
			log.Await(t, "the store is reached", 2)
			run(t, client, 2)
		})
	}
}

// TestTLSAgainstPlain: a store in the clear does not get a password from who
// wants TLS.
func TestTLSAgainstPlain(t *testing.T) {
	server, log := redistest.NewTCP(t), redistest.NewLog()
	server.Start()
	o := settingsOf(t, &config.Redis{Addresses: []string{server.Address()}, TLS: &config.RedisTLS{}})
	o.Password = "swordfish"
	keep(t, o, log)
	log.Await(t, "cannot be reached yet", 1)
}

// TestCluster: keys go to the nodes that have them, a node that dies is noticed,
// and comes back; what is published on one node is heard on all.
func TestCluster(t *testing.T) {
	nodes, log := redistest.Cluster(t), redistest.NewLog()
	seeds := []string{nodes[0].Address(), nodes[1].Address()}
	c := keep(t, Options{Addresses: seeds}, log)
	log.Await(t, "the store is reached", 1)
	const keys = 100
	for i := range keys {
		if got, err := c.Run(context.Background(), plus, fmt.Sprint("k", i), []string{"2"}); err != nil || got[0] != 2 {
			t.Fatalf("key %d: %v, %v", i, got, err)
		}
	}
	held := 0
	for i, node := range nodes {
		var n int
		if _, err := fmt.Sscanf(node.Command("DBSIZE"), ":%d", &n); err != nil || n == 0 {
			t.Errorf("node %d holds %d keys: %v", i, n, err)
		}
		held += n
	}
	if held != keys {
		t.Errorf("%d keys are held, want %d", held, keys)
	}
	heard, begun := make(chan string, 1), make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		c.Subscribe(ctx, "news", func() { begun <- struct{}{} }, func() {}, func(m string) { heard <- m })
	})
	<-begun
	nodes[2].Command("PUBLISH", "news", "hello")
	if m := <-heard; m != "hello" {
		t.Errorf("heard %q", m)
	}
	cancel()
	work.Wait()

	nodes[1].Kill()
	for i := 0; c.Up(); i++ { // somebody asks for what it had
		_, _ = c.Run(context.Background(), plus, fmt.Sprint("k", i%keys), []string{"2"})
	}
	nodes[1].Start()
	nodes[1].AwaitInfo("cluster_state:ok", "CLUSTER", "INFO")
	answered := 0
	for late := time.Now().Add(20 * time.Second); answered < keys && time.Now().Before(late); {
		if _, err := c.Run(context.Background(), plus, fmt.Sprint("k", answered), []string{"2"}); err == nil {
			answered++
		}
	}
	if answered != keys {
		t.Errorf("%d of %d keys are answered again", answered, keys)
	}
}

// TestSentinel: the store is what the sentinels say is the master, also after
// another has taken its place.
func TestSentinel(t *testing.T) {
	master, log := redistest.NewTCP(t), redistest.NewLog()
	master.Start()
	replica := redistest.ReplicaOf(t, master)
	sentinel := redistest.Sentinel(t, "limits", master)
	sentinel.AwaitInfo("slaves=1", "INFO", "sentinel")
	c := keep(t, Options{Addresses: []string{sentinel.Address()}, Sentinel: "limits"}, log)
	log.Await(t, "the store is reached", 1)
	run(t, c, 2)
	master.Kill()
	replica.AwaitInfo("role:master", "INFO", "replication")
	for late := time.Now().Add(20 * time.Second); ; {
		_, err := c.Run(context.Background(), plus, "other", []string{"2"})
		if err == nil {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("the new master is not found: %v\n%s", err, log)
		}
	}
	if got := replica.Command("EXISTS", "other"); got != ":1" {
		t.Errorf("the new master does not have it: %s", got)
	}
}

// TestValkey: a server that calls itself Valkey in its greeting is as good.
// Debian 12 has no Valkey, so a real Redis speaks through a relay that gives it
// that name; commands and scripts that Weir uses are the same in both.
func TestValkey(t *testing.T) {
	server, log := redistest.NewTCP(t), redistest.NewLog()
	server.Start()
	c := keep(t, Options{Addresses: []string{renamed(t, server.Address())}}, log)
	log.Await(t, "the store is reached", 1)
	run(t, c, 2)
	run(t, c, 4)
}

// renamed is the address of a relay to a server, which it calls Valkey.
func renamed(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	said := false
	work.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(server, client); server.Close() })
			work.Go(func() {
				defer client.Close()
				page := make([]byte, 64<<10)
				for {
					n, err := server.Read(page)
					if err != nil {
						return
					}
					out := bytes.Replace(page[:n], []byte("$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15"), []byte("$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n8.1.0"), 1)
					said = said || len(out) != n || bytes.Contains(out, []byte("valkey"))
					if _, err := client.Write(out); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		work.Wait()
		if !said {
			t.Error("the server was never called Valkey")
		}
	})
	return ln.Addr().String()
}

// TestLoadSecrets: what is wrong with files is said where they are named.
func TestLoadSecrets(t *testing.T) {
	dir := t.TempDir()
	_, cert, _ := files(t, "ours", dir)
	_, _, key := files(t, "theirs", dir)
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    config.Redis
		want string
	}{
		"an empty password":    {config.Redis{Password: &config.Secret{File: empty}}, "is empty"},
		"no authority":         {config.Redis{TLS: &config.RedisTLS{CA: &config.Secret{File: empty}}}, "tls.ca"},
		"a key of another":     {config.Redis{TLS: &config.RedisTLS{Certificate: &config.Certificate{Cert: config.Secret{File: cert}, Key: config.Secret{File: key}}}}, "do not go together"},
		"a key for an address": {config.Redis{TLS: &config.RedisTLS{Certificate: &config.Certificate{Cert: config.Secret{File: cert}, Key: config.Secret{File: cert}}}}, "certificate.key"},
	} {
		var problems config.Problems
		report := config.NewReport("test", func(path string) config.Pos { return config.Pos{File: path} }, &problems)
		Load(&c.s, os.ReadFile, report)
		if text := fmt.Sprint(problems); !strings.Contains(text, c.want) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestCheckAddresses(t *testing.T) {
	many := make([]string, maxAddresses+1)
	for i := range many {
		many[i] = "a:1"
	}
	for want, s := range map[string]config.Redis{
		"more than 64":        {Addresses: many},
		"is no address":       {Addresses: []string{"a"}},
		`"unix:" is no`:       {Addresses: []string{"unix:"}},
		"has database 0 only": {Addresses: []string{"a:1", "b:1"}, Database: 3},
		"from files only":     {Addresses: []string{"a:1"}, TLS: &config.RedisTLS{CA: &config.Secret{Env: "X"}}},
	} {
		var problems config.Problems
		Check(&s, config.NewReport("test", func(string) config.Pos { return config.Pos{} }, &problems))
		if text := fmt.Sprint(problems); !strings.Contains(text, want) {
			t.Errorf("%q: %s", want, text)
		}
	}
}
