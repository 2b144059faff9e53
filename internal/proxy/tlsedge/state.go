package tlsedge

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirproxy/weir/internal/pemfile"
	"github.com/weirproxy/weir/internal/snapshot"
	"github.com/weirproxy/weir/internal/watchdog"
	"github.com/weirproxy/weir/stream"
)

// state is one compiled configuration. It is immutable but for the ticket keys
// of its groups.
type state struct {
	hash   [32]byte // of everything
	trust  [32]byte // of what decides whom to trust: ticket keys are bound to it
	limits []watchdog.Limit
	slots  chan struct{} // of max_handshakes; nil: no limit
	// quicSlots are those of QUIC.
	quicSlots chan struct{}
	leaves    []*x509.Certificate

	exact    map[string]*group // by name
	wildcard map[string]*group // by what follows "*."
	fallback *group            // for other names; nil: refuse
	refuse   *tls.Config
}

// suites12 are the TLS 1.2 cipher suites with forward secrecy and
// authenticated encryption. TLS 1.3 has no others.
var suites12 = [...]uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

func (s *Server) compile(cfg Config) (*state, error) {
	if cfg.Material == nil || len(cfg.Material.Certificates) == 0 {
		return nil, errors.New("no certificate; give at least one under tls.certificates")
	}
	base := &tls.Config{
		NextProtos:       cfg.NextProtos,
		CipherSuites:     suites12[:],
		VerifyConnection: verifyNames,
	}
	var err error
	if base.MinVersion, err = minVersion(cfg.Spec.MinVersion); err != nil {
		return nil, err
	}
	bundle, err := trustClients(base, cfg.Spec.ClientCertificate.Mode, cfg.Material.ClientCA)
	if err != nil {
		return nil, err
	}
	certs, err := loadPairs(cfg.Material.Certificates)
	if err != nil {
		return nil, err
	}
	st := &state{trust: trustHash(cfg.Spec.ClientCertificate.Mode, bundle, certs)}
	for i := range certs {
		st.leaves = append(st.leaves, certs[i].Leaf)
	}
	var limit stream.PhaseLimit
	if cfg.Phases != nil {
		limit = cfg.Phases[stream.PhaseHandshake]
	}
	st.limits = guardLimits(limit)
	if cfg.Spec.MaxHandshakes > 0 {
		st.slots = make(chan struct{}, cfg.Spec.MaxHandshakes)
		st.quicSlots = make(chan struct{}, cfg.Spec.MaxHandshakes)
	}
	st.group(certs, namesOf(certs, cfg.Material.Certificates), base)
	if err := st.setFallback(cfg.Spec.UnknownName, certs, base); err != nil {
		return nil, err
	}
	st.hash = stateHash(st, &cfg)
	now := time.Now()
	st.eachGroup(func(g *group) { g.refreshTickets(&s.master, st.trust, now) })
	return st, nil
}

func minVersion(text string) (uint16, error) {
	switch text {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("min_version %q is neither 1.2 nor 1.3", text)
}

// trustClients sets how clients show themselves. A missing or broken bundle is
// an error in every mode that needs it: never an open door (CVE-2026-27586).
func trustClients(c *tls.Config, mode string, ca snapshot.Material) (bundle []*x509.Certificate, err error) {
	switch mode {
	case "", "off":
		return nil, nil
	case "optional":
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		c.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("client_certificate.mode %q is none of off, optional, require", mode)
	}
	bundle, err = pemfile.Certificates(ca.Reveal())
	if err != nil {
		return nil, fmt.Errorf("client_certificate.ca %w; without it no client could be verified", err)
	}
	c.ClientCAs = x509.NewCertPool()
	for _, cert := range bundle {
		c.ClientCAs.AddCert(cert)
	}
	return bundle, nil
}

func loadPairs(pairs []snapshot.KeyPair) ([]tls.Certificate, error) {
	certs := make([]tls.Certificate, len(pairs))
	for i := range pairs {
		cert, err := loadPair(&pairs[i])
		if err != nil {
			return nil, fmt.Errorf("certificates[%d]: %w", i, err)
		}
		certs[i] = cert
	}
	return certs, nil
}

func loadPair(pair *snapshot.KeyPair) (tls.Certificate, error) {
	chain, err := pemfile.Certificates(pair.Chain.Reveal())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cert %w", err)
	}
	key, err := pemfile.PrivateKey(pair.Key.Reveal())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("key %w", err)
	}
	if !pemfile.Matches(chain[0], key) {
		return tls.Certificate{}, fmt.Errorf("the key does not belong to the certificate of %q; is the leaf the first in the file?", chain[0].Subject)
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

// namesOf are the names of each certificate in the form of serverName. A name
// that no client may ask for is left out: it could only match by mistake.
func namesOf(certs []tls.Certificate, pairs []snapshot.KeyPair) [][]string {
	all := make([][]string, len(certs))
	for i := range certs {
		names := pairs[i].Names
		if names == nil {
			names, _ = pemfile.Names(certs[i].Leaf)
		}
		for _, name := range names {
			plain := serverName(strings.TrimPrefix(name, "*."))
			if plain != "" {
				all[i] = append(all[i], name[:len(name)-len(strings.TrimPrefix(name, "*."))]+plain)
			}
		}
	}
	return all
}

// group makes one config per set of certificates that share a name (mostly one
// certificate, or one RSA and one ECDSA), and files it under each name.
func (st *state) group(certs []tls.Certificate, names [][]string, base *tls.Config) {
	byName := map[string][]int{}
	for i := range certs {
		for _, name := range names[i] {
			if !slices.Contains(byName[name], i) {
				byName[name] = append(byName[name], i)
			}
		}
	}
	st.exact, st.wildcard = map[string]*group{}, map[string]*group{}
	groups := map[string]*group{}
	for name, members := range byName {
		key := fmt.Sprint(members)
		g := groups[key]
		if g == nil {
			g = newGroup(certs, members, base)
			groups[key] = g
		}
		if parent, ok := strings.CutPrefix(name, "*."); ok {
			st.wildcard[parent] = g
		} else {
			st.exact[name] = g
		}
	}
}

func (st *state) setFallback(unknownName string, certs []tls.Certificate, base *tls.Config) error {
	switch unknownName {
	case "", "default":
		st.fallback = newGroup(certs, []int{0}, base)
	case "refuse":
		st.refuse = base.Clone()
		// Without a certificate the standard library answers with the alert
		// unrecognized_name; an error from choose would be an internal_error.
		st.refuse.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
		st.refuse.SessionTicketsDisabled = true
	default:
		return fmt.Errorf("unknown_name %q is neither default nor refuse", unknownName)
	}
	return nil
}

// lookup finds the group for a name: exact, then one label under a wildcard,
// then the fallback. nil: refuse.
func (st *state) lookup(name string) *group {
	if g := st.exact[name]; g != nil {
		return g
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if g := st.wildcard[parent]; g != nil {
			return g
		}
	}
	return st.fallback
}

func (st *state) eachGroup(do func(*group)) {
	for _, g := range st.exact {
		do(g)
	}
	for _, g := range st.wildcard {
		do(g)
	}
	if st.fallback != nil {
		do(st.fallback)
	}
}

// serverName is an SNI in lower case and without a trailing dot, or "" if it is
// none that a host can have: such bytes reach no log and no comparison.
func serverName(sni string) string {
	name := strings.TrimSuffix(strings.ToLower(sni), ".")
	if len(name) > 253 {
		return ""
	}
	for i := 0; i < len(name); i++ {
		if !hostByte(name[i]) {
			return ""
		}
	}
	return name
}

// hostByte tells whether c may stand in a name of a host in lower case.
func hostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
}

// trustHash is over what a session must not outlive.
func trustHash(mode string, bundle []*x509.Certificate, certs []tls.Certificate) [32]byte {
	parts := [][]byte{[]byte(mode)}
	for _, cert := range bundle {
		parts = append(parts, cert.Raw)
	}
	parts = append(parts, nil) // between the lists: an empty part is no certificate
	for i := range certs {
		parts = append(parts, certs[i].Certificate...)
		parts = append(parts, nil)
	}
	return hashParts(parts...)
}

func stateHash(st *state, cfg *Config) [32]byte {
	parts := [][]byte{st.trust[:], []byte(cfg.Spec.MinVersion), []byte(cfg.Spec.UnknownName)}
	parts = append(parts, fmt.Append(nil, cfg.Spec.MaxHandshakes, st.limits, len(cfg.Material.Certificates)))
	for i := range cfg.Material.Certificates {
		parts = append(parts, cfg.Material.Certificates[i].Key.Reveal(), fmt.Append(nil, cfg.Material.Certificates[i].Names))
	}
	for _, proto := range cfg.NextProtos {
		parts = append(parts, []byte(proto))
	}
	return hashParts(parts...)
}

// hashParts prefixes each part with its length, so that no two lists of parts
// have the same hash.
func hashParts(parts ...[]byte) (sum [32]byte) {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}
