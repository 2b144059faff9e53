package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Cluster starts three masters that share the slots, and waits until they do.
func Cluster(t testing.TB) []*Server {
	t.Helper()
	nodes, words := make([]*Server, 3), []string{"--cluster", "create"}
	for i := range nodes {
		nodes[i] = NewTCP(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "1000")
		nodes[i].Start()
		words = append(words, nodes[i].Address())
	}
	if out, err := exec.Command("redis-cli", append(words, "--cluster-replicas", "0", "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli does not make a cluster: %v\n%s", err, out)
	}
	for _, node := range nodes {
		node.AwaitInfo("cluster_state:ok", "CLUSTER", "INFO")
	}
	return nodes
}

// AwaitInfo asks until the answer has that text: a server says nothing of itself
// when its view of others changes.
func (s *Server) AwaitInfo(want string, words ...string) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		out, err := exec.Command("redis-cli", append([]string{"-s", s.path}, words...)...).CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%s never said %q: %v\n%s", words, want, err, out)
		}
	}
}

// Sentinel starts a sentinel that watches master under a name.
func Sentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	s := NewTCP(t)
	file := filepath.Join(filepath.Dir(s.path), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n", name, master.port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config = []string{file, "--sentinel"}
	s.Start()
	return s
}

// ReplicaOf is a server that follows master.
func ReplicaOf(t testing.TB, master *Server) *Server {
	t.Helper()
	s := NewTCP(t, "--replicaof", "127.0.0.1 "+master.port, "--repl-diskless-sync-delay", "0")
	s.Start()
	s.AwaitInfo("master_link_status:up", "INFO", "replication")
	return s
}
