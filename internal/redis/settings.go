package redis

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/pemfile"
)

// maxAddresses of one store: a cluster needs some seeds, not all of its nodes.
const maxAddresses = 64

// Check says what is wrong with settings, without a file or a connection.
func Check(s *config.Redis, report *config.Report) {
	if len(s.Addresses) > maxAddresses {
		report.Errorf("addresses", "name some seeds", "%d addresses, more than %d", len(s.Addresses), maxAddresses)
	}
	for i, address := range s.Addresses {
		if path, unix := strings.CutPrefix(address, "unix:"); unix && path != "" {
			continue
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			report.Errorf(fmt.Sprintf("addresses[%d]", i), "write host:port or unix:PATH", "%q is no address", address)
		}
	}
	if s.Database != 0 && len(s.Addresses) > 1 && s.Sentinel == "" {
		report.Errorf("database", "remove it, or name one address", "several addresses are a cluster, which has database 0 only")
	}
	for _, secret := range secretsOf(s) {
		if secret.File == "" {
			report.Errorf(secret.at, "write {file: PATH}", "a filter reads secrets from files only")
		}
	}
}

// secretAt is a secret and its place in the settings.
type secretAt struct {
	*config.Secret
	at string
}

func secretsOf(s *config.Redis) (list []secretAt) {
	add := func(secret *config.Secret, at string) {
		if secret != nil {
			list = append(list, secretAt{secret, at})
		}
	}
	add(s.Password, "password")
	if t := s.TLS; t != nil {
		add(t.CA, "tls.ca")
		if t.Certificate != nil {
			add(&t.Certificate.Cert, "tls.certificate.cert")
			add(&t.Certificate.Key, "tls.certificate.key")
		}
	}
	return list
}

// Secrets are what the files had that settings refer to. They have no printable
// form.
type Secrets struct {
	password string
	ca       []byte
	cert     []byte
	key      []byte
}

// String hides them.
func (Secrets) String() string { return "[hidden]" }

// GoString hides them from %#v, too.
func (Secrets) GoString() string { return "[hidden]" }

// MarshalText hides them from every encoder.
func (Secrets) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

// Load reads the files that settings refer to.
func Load(s *config.Redis, read func(path string) ([]byte, error), report *config.Report) (loaded Secrets) {
	for _, secret := range secretsOf(s) {
		content, err := read(secret.File)
		if err == nil {
			err = loaded.take(secret.at, content)
		}
		if err != nil {
			report.Errorf(secret.at, "name a file that Weir may read, relative to the document, with what belongs there", "what stands in %s cannot be used: %v", secret.File, err)
		}
	}
	if len(loaded.cert) > 0 && len(loaded.key) > 0 {
		if _, err := tls.X509KeyPair(loaded.cert, loaded.key); err != nil {
			report.Errorf("tls.certificate", "name a certificate and the key that belongs to it", "certificate and key do not go together: %v", err)
		}
	}
	return loaded
}

func (l *Secrets) take(at string, content []byte) (err error) {
	switch at {
	case "password":
		if l.password = strings.TrimRight(string(content), "\r\n"); l.password == "" {
			return errors.New("the file is empty")
		}
	case "tls.ca":
		l.ca = content
		_, err = pemfile.Certificates(content)
	case "tls.certificate.cert":
		l.cert = content
		_, err = pemfile.Certificates(content)
	case "tls.certificate.key":
		l.key = content
		_, err = pemfile.PrivateKey(content)
	}
	return err
}

// Identity says which store it is and how it is reached, without showing a
// secret: what is kept for one identity is of no use for another.
func Identity(s *config.Redis, l *Secrets) string {
	sum := sha256.New()
	for _, secret := range [...][]byte{[]byte(l.password), l.ca, l.cert, l.key} {
		_, _ = fmt.Fprintf(sum, "%d:", len(secret)) // a hash takes everything
		sum.Write(secret)
	}
	name := ""
	if s.TLS != nil {
		name = s.TLS.ServerName
	}
	return fmt.Sprintf("redis %q %q %q %d %v %q %x", s.Addresses, s.Sentinel, s.Username, s.Database, s.TLS != nil, name, sum.Sum(nil)[:16])
}

// From are the options of a client by settings.
func From(s *config.Redis, l *Secrets) Options {
	o := Options{Addresses: s.Addresses, Sentinel: s.Sentinel, Username: s.Username, Password: l.password, Database: s.Database}
	if s.TLS != nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLS.ServerName}
		if len(l.ca) > 0 {
			o.TLS.RootCAs = x509.NewCertPool()
			o.TLS.RootCAs.AppendCertsFromPEM(l.ca)
		}
		if pair, err := tls.X509KeyPair(l.cert, l.key); err == nil { // Load has said so otherwise
			o.TLS.Certificates = []tls.Certificate{pair}
		}
	}
	return o
}
