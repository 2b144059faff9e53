package health

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirproxy/weir/config"
	"github.com/weirproxy/weir/internal/endpoint"
	"github.com/weirproxy/weir/internal/postgrestest"
	"github.com/weirproxy/weir/internal/redis/redistest"
	"github.com/weirproxy/weir/internal/snapshot"
)

// patience bounds every wait for a real server.
const patience = 20 * time.Second

// askServer makes one check of a real server on a Unix socket.
func askServer(t *testing.T, socket, password string, spec config.HealthCheck) string {
	t.Helper()
	spec.Interval, spec.Timeout = config.Duration(time.Second), config.Duration(patience)
	dial := func(ctx context.Context, e *endpoint.Endpoint) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, e.Network, e.Address)
	}
	cfg := Config{Spec: spec, Dial: dial, Plain: dial, Password: snapshot.NewMaterial([]byte(password))}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint.New(endpoint.Spec{Network: "unix", Address: socket, Weight: 1}, endpoint.NewLoad(0, 0), time.Now())
	return reason(c.check(t.Context(), e))
}

func TestRealRedis(t *testing.T) {
	server := redistest.New(t, "--requirepass", "s3cret")
	server.Start()
	socket := strings.TrimPrefix(server.Address(), "unix:")
	for _, tt := range []struct{ user, password, want string }{
		{"", "s3cret\n", ""},
		{"default", "s3cret", ""},
		{"", "wrong", "AUTH: the server refuses the login: WRONGPASS"},
		{"nobody", "s3cret", "AUTH: the server refuses the login: WRONGPASS"},
		{"", "", "PING: NOAUTH Authentication required. (give health a password)"},
	} {
		if got := askServer(t, socket, tt.password, config.HealthCheck{Type: "redis", User: tt.user}); got != tt.want {
			t.Errorf("%q with %q: %q, want %q", tt.user, tt.password, got, tt.want)
		}
	}
	server.Kill()
	if got := askServer(t, socket, "", config.HealthCheck{Type: "redis"}); got == "" {
		t.Error("a server that is gone is fit")
	}
}

// TestRealReplica: a replica that has lost its master accepts connections.
func TestRealReplica(t *testing.T) {
	server := redistest.New(t, "--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
	server.Start()
	got := askServer(t, strings.TrimPrefix(server.Address(), "unix:"), "", config.HealthCheck{Type: "redis"})
	if !strings.HasPrefix(got, "PING: MASTERDOWN ") {
		t.Errorf("%q, want MASTERDOWN", got)
	}
}

func TestRealPostgres(t *testing.T) {
	p := postgrestest.New(t)
	stop := p.Start("database system is ready to accept connections")
	for _, tt := range []struct{ user, database, want string }{
		{"", "", ""},
		{"nobody", "nothing", ""},
	} {
		if got := askServer(t, p.Socket(), "", config.HealthCheck{Type: "postgres", User: tt.user, Database: tt.database}); got != tt.want {
			t.Errorf("%q at %q: %q, want %q", tt.user, tt.database, got, tt.want)
		}
	}
	stop()
	if got := askServer(t, p.Socket(), "", config.HealthCheck{Type: "postgres"}); got == "" {
		t.Error("a server that is gone is fit")
	}
	// A standby that nobody may read from takes no logins, for ever.
	if err := os.WriteFile(filepath.Join(p.Data(), "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer p.Start("entering standby mode", "hot_standby=off")()
	got := askServer(t, p.Socket(), "", config.HealthCheck{Type: "postgres"})
	if !strings.HasPrefix(got, "the server takes no logins: the database system is ") || !strings.HasSuffix(got, " (57P03)") {
		t.Errorf("%q, want that it takes no logins", got)
	}
}
