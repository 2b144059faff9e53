package resolve

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxFile bounds what is read of a file of the system.
const maxFile = 1 << 20

// system is what the machine says about names. Its files are read again when
// they change: a container gets its resolv.conf after its start, and laptops
// change networks.
type system struct {
	fixed []string // servers of the document; then resolv.conf is not used

	mu         sync.Mutex // guards what follows
	resolvConf watchedFile
	hostsFile  watchedFile
	conf       *dns.ClientConfig
	hosts      map[string][]netip.Addr // by name in lower case, without trailing dot
}

// watchedFile remembers what a file looked like when it was read.
type watchedFile struct {
	path string
	mod  time.Time
	size int64
	read bool
}

// changed opens the file if it is not as it was read last. A file that is not
// there is as an empty one.
func (w *watchedFile) changed() (io.ReadCloser, bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		was := w.read && w.size < 0
		w.read, w.size, w.mod = true, -1, time.Time{}
		return io.NopCloser(strings.NewReader("")), !was
	}
	if w.read && info.ModTime().Equal(w.mod) && info.Size() == w.size {
		return nil, false
	}
	f, err := os.Open(w.path)
	if err != nil {
		return nil, false // what was read before stays
	}
	w.read, w.mod, w.size = true, info.ModTime(), info.Size()
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, maxFile), f}, true
}

// plan is how a question is asked.
type plan struct {
	servers  []string
	names    []string // fully qualified, in the order to try
	timeout  time.Duration
	attempts int
}

// plan reads resolv.conf(5), unless the document names the servers.
func (s *system) plan(host string) plan {
	if len(s.fixed) > 0 {
		return plan{servers: s.fixed, names: []string{dns.Fqdn(host)}, timeout: 2 * time.Second, attempts: 2}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.resolvConf.changed(); ok {
		conf, err := dns.ClientConfigFromReader(f)
		f.Close()
		if err == nil || s.conf == nil {
			s.conf = conf
		}
	}
	p := plan{names: []string{dns.Fqdn(host)}, timeout: 2 * time.Second, attempts: 2}
	if s.conf != nil {
		// resolv.conf(5): three servers, and no more than six domains to search.
		for _, server := range s.conf.Servers[:min(len(s.conf.Servers), 3)] {
			p.servers = append(p.servers, net.JoinHostPort(server, s.conf.Port))
		}
		conf := *s.conf
		conf.Search = conf.Search[:min(len(conf.Search), 6)]
		p.names = conf.NameList(host)
		p.timeout = time.Duration(min(max(s.conf.Timeout, 1), 5)) * time.Second
		p.attempts = min(max(s.conf.Attempts, 1), 3)
	}
	if len(p.servers) == 0 {
		p.servers = []string{"127.0.0.1:53"}
	}
	return p
}

// local is what the hosts file says about a name. localhost and the names
// below it are loopback whatever it says (RFC 6761 section 6.3).
func (s *system) local(host string) []netip.Addr {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.hostsFile.changed(); ok {
		s.hosts = parseHosts(f)
		f.Close()
	}
	if addrs := s.hosts[name]; len(addrs) > 0 {
		return addrs
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return nil
}

// parseHosts reads hosts(5). Lines that are none are skipped, as everywhere.
func parseHosts(r io.Reader) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if len(hosts[name]) < maxAddrs {
				hosts[name] = append(hosts[name], addr.Unmap())
			}
		}
	}
	return hosts
}
