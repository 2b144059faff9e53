package compile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/pemfile"
	"github.com/weirproxy/weir/internal/snapshot"
)

// expiryWarning is how long before its end a certificate is warned about, but
// never more than a quarter of its life, so that short-lived ones do not warn
// all the time.
const expiryWarning = 14 * 24 * time.Hour

// role is what a certificate is for.
type role struct {
	server  bool // shown to clients, else to endpoints
	pos     config.Pos
	running []snapshot.KeyPair // what is shown now, if anything
}

// keyPair reads and judges a certificate with its key. On errors, all of which
// are reported, the result is incomplete.
func (c *compiler) keyPair(spec *config.Certificate, origin *config.Origin, r *config.Report, use role) snapshot.KeyPair {
	pair := snapshot.KeyPair{Pos: use.pos}
	chainText, certOK := c.secret(&spec.Cert, origin, r, "cert", "certificate")
	keyText, keyOK := c.secret(&spec.Key, origin, r, "key", "private key")
	if !certOK || !keyOK {
		return pair
	}
	chain, err := pemfile.Certificates(chainText)
	if err != nil {
		r.Errorf("cert", "write the chain as PEM, the leaf first", "certificate %s: %v", &spec.Cert, err)
	}
	key, keyErr := pemfile.PrivateKey(keyText)
	if keyErr != nil {
		r.Errorf("key", "write the key as PEM, without a passphrase", "private key %s: %v", &spec.Key, keyErr)
	}
	if err != nil || keyErr != nil {
		return pair
	}
	pair.Chain, pair.Key = snapshot.NewMaterial(chainText), snapshot.NewMaterial(keyText)
	if !pemfile.Matches(chain[0], key) {
		r.Errorf("key", "use the key that the certificate was requested with",
			"private key %s does not belong to certificate %s%s", &spec.Key, &spec.Cert, leafHint(chain, key.Public()))
	}
	c.judgeChain(chain, spec, r)
	c.judgeDates(chain[0], spec, r, use.running)
	names, odd := pemfile.Names(chain[0])
	pair.Names = names
	for _, name := range odd {
		r.Warnf("cert", "a wildcard is the whole first label: *.example.com", "certificate %s: no client accepts the name %q", &spec.Cert, name)
	}
	if use.server && len(names) == 0 && len(chain[0].IPAddresses) == 0 {
		r.Warnf("cert", "request one with subject alternative names", "certificate %s covers no name: clients ignore the common name", &spec.Cert)
	}
	return pair
}

// leafHint finds the usual reason: the chain is in the wrong order.
func leafHint(chain []*x509.Certificate, public crypto.PublicKey) string {
	for i, cert := range chain[1:] {
		if key, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(public) {
			return fmt.Sprintf(" (it belongs to certificate %d of the file; the leaf must be the first)", i+2)
		}
	}
	return ""
}

func (c *compiler) judgeChain(chain []*x509.Certificate, spec *config.Certificate, r *config.Report) {
	leaf := chain[0]
	if why := pemfile.Weakness(leaf); why != "" {
		r.Errorf("cert", "request a certificate with an ECDSA P-256 key, or RSA of 2048 to 4096 bits", "certificate %s: %s", &spec.Cert, why)
	}
	for i, cert := range chain {
		if name, found := pemfile.Unprintable(cert); found {
			r.Errorf("cert", "replace it: such names are made to deceive", "certificate %s, number %d: the name %q holds a control character", &spec.Cert, i+1, name)
		}
	}
	if at := pemfile.BrokenAt(chain); at >= 0 {
		r.Warnf("cert", "put each certificate before the one that signed it",
			"certificate %s: number %d (%s) was not signed by number %d (%s)", &spec.Cert, at+1, chain[at].Subject, at+2, chain[at+1].Subject)
	}
	if leaf.IsCA && len(chain) > 1 {
		r.Warnf("cert", "put the leaf first", "certificate %s: the first certificate is a CA", &spec.Cert)
	}
}

// judgeDates: a certificate out of its time is an error only where refusing it
// helps, which is when a valid one is in use. At the start a single expired
// one must not keep all other sites down; clients refuse it anyway.
func (c *compiler) judgeDates(leaf *x509.Certificate, spec *config.Certificate, r *config.Report, running []snapshot.KeyPair) {
	now := c.in.Now
	complain := r.Warnf
	if replacesValid(leaf, running, now) {
		complain = r.Errorf
	}
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		complain("cert", "renew it", "certificate %s expired on %s", &spec.Cert, date(leaf.NotAfter))
	case leaf.NotBefore.After(now):
		complain("cert", "check the clock of this machine", "certificate %s is not valid before %s", &spec.Cert, date(leaf.NotBefore))
	case left < min(expiryWarning, leaf.NotAfter.Sub(leaf.NotBefore)/4):
		r.Warnf("cert", "renew it", "certificate %s expires on %s", &spec.Cert, date(leaf.NotAfter))
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// replacesValid tells whether one of the certificates in use, other than leaf,
// is valid and covers one of the names of leaf.
func replacesValid(leaf *x509.Certificate, running []snapshot.KeyPair, now time.Time) bool {
	names, _ := pemfile.Names(leaf)
	for _, pair := range running {
		chain, err := pemfile.Certificates(pair.Chain.Reveal())
		if err != nil || bytes.Equal(chain[0].Raw, leaf.Raw) {
			continue
		}
		if now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
			continue
		}
		for _, name := range names {
			if slices.Contains(pair.Names, name) {
				return true
			}
		}
	}
	return false
}

// bundle reads a CA bundle. An empty or broken one is an error: it must never
// turn into "trust everyone" or "trust the system".
func (c *compiler) bundle(spec *config.Secret, origin *config.Origin, r *config.Report, path string) snapshot.Material {
	content, ok := c.secret(spec, origin, r, path, "CA bundle")
	if !ok {
		return snapshot.Material{}
	}
	authorities, err := pemfile.Certificates(content)
	if err != nil {
		r.Errorf(path, "write the certificates of the CAs as PEM", "CA bundle %s: %v", spec, err)
		return snapshot.Material{}
	}
	valid := 0
	for i, authority := range authorities {
		switch {
		case c.in.Now.After(authority.NotAfter):
			r.Warnf(path, "remove it", "CA bundle %s: certificate %d (%s) expired on %s", spec, i+1, authority.Subject, date(authority.NotAfter))
		case !authority.IsCA:
			r.Warnf(path, "put the certificate of the CA there", "CA bundle %s: certificate %d (%s) is not a CA", spec, i+1, authority.Subject)
		default:
			valid++
		}
	}
	if valid == 0 {
		r.Warnf(path, "replace it", "CA bundle %s holds no CA that is valid now: every certificate will be refused", spec)
	}
	return snapshot.NewMaterial(content)
}

// secret reads what a reference names. It reports why it cannot.
func (c *compiler) secret(spec *config.Secret, origin *config.Origin, r *config.Report, path, what string) ([]byte, bool) {
	switch {
	case spec.File != "" && spec.Env != "":
		r.Errorf(path, "keep one of them", "%s has both file and env", what)
	case spec.File != "":
		return c.secretFile(spec.File, origin, r, path, what)
	case spec.Env != "":
		if value, ok := c.in.Env(spec.Env); ok && value != "" {
			return []byte(value), true
		}
		r.Errorf(path, "set it in the environment of the process", "%s: the environment variable %q is not set or empty", what, spec.Env)
	default:
		r.Errorf(path, "write {file: PATH} or {env: NAME}", "%s has neither file nor env", what)
	}
	return nil, false
}

// beside is a path taken relative to the document.
func beside(origin *config.Origin, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(origin.Pos.File), name)
}

func (c *compiler) secretFile(name string, origin *config.Origin, r *config.Report, path, what string) ([]byte, bool) {
	name = beside(origin, name)
	content, err := c.in.Files(name)
	if err != nil {
		fix := "check the path and its permissions"
		if !filepath.IsAbs(name) {
			fix += "; it is relative to the document"
		}
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err
		}
		r.Errorf(path, fix, "%s %s cannot be read: %v", what, name, err)
		return nil, false
	}
	if strings.TrimSpace(string(content)) == "" {
		r.Errorf(path, "write its content there", "%s %s is empty", what, name)
		return nil, false
	}
	return content, true
}

// warnAboutRepeatedNames: of two certificates for one name only the first is
// shown, unless their kinds of key differ.
func warnAboutRepeatedNames(pairs []snapshot.KeyPair, r *config.Report) {
	first := map[string]int{}
	for i, pair := range pairs {
		chain, err := pemfile.Certificates(pair.Chain.Reveal())
		if err != nil {
			continue
		}
		for _, name := range pair.Names {
			key := chain[0].PublicKeyAlgorithm.String() + " " + name
			if j, taken := first[key]; taken && j != i {
				r.Warnf(index("certificates", i), "remove one of them", "certificates %d and %d both cover %q; the first is shown", j+1, i+1, name)
				break
			}
			first[key] = i
		}
	}
}
