package tlsedge

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// ticketEpoch is how long a key seals new tickets; it opens them for as long
// again. A stolen key reveals no more than two epochs.
const ticketEpoch = 12 * time.Hour

// group is what the clients of some names get: a config with the certificates
// of these names and ticket keys of its own, so that a session is resumed only
// under a name of the same certificate.
type group struct {
	config  *tls.Config
	certs   [32]byte // hash of its certificates
	epoch   atomic.Int64
	renewal sync.Mutex // one renewal of the keys at a time
	quic    *group     // the same for QUIC
}

func newGroup(certs []tls.Certificate, members []int, base *tls.Config) *group {
	g := &group{config: base.Clone()}
	var leaves [][]byte
	for _, i := range members {
		g.config.Certificates = append(g.config.Certificates, certs[i])
		leaves = append(leaves, certs[i].Leaf.Raw)
	}
	g.certs = hashParts(leaves...)
	g.epoch.Store(-1)
	g.quic = g.forQUIC()
	return g
}

// refreshTickets sets the keys of the present epoch, once per epoch. Without
// keys of its own the config would use those of the base config, which know
// nothing of trust.
func (g *group) refreshTickets(master *[32]byte, trust [32]byte, now time.Time) {
	epoch := now.Unix() / int64(ticketEpoch/time.Second)
	if g.epoch.Load() == epoch {
		return
	}
	g.renewal.Lock()
	defer g.renewal.Unlock()
	if g.epoch.Load() == epoch {
		return
	}
	g.config.SetSessionTicketKeys([][32]byte{
		ticketKey(master, trust, g.certs, epoch),
		ticketKey(master, trust, g.certs, epoch-1),
	})
	g.epoch.Store(epoch)
}

// ticketKey derives a key. All inputs have a fixed length.
func ticketKey(master *[32]byte, trust, certs [32]byte, epoch int64) (key [32]byte) {
	mac := hmac.New(sha256.New, master[:])
	mac.Write([]byte("weir session ticket"))
	mac.Write(trust[:])
	mac.Write(certs[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(epoch)))
	mac.Sum(key[:0])
	return key
}
