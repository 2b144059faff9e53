package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func startOn(t *testing.T, address string) *Server {
	t.Helper()
	s := New(Config{Address: address, Views: (&fake{}).views(), Log: slog.New(slog.DiscardHandler)})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// get asks over the network named in the address of s.
func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	network, address := "tcp", s.Address()
	if rest, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, address = "unix", rest
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestTCP(t *testing.T) {
	s := startOn(t, "127.0.0.1:0")
	if strings.HasSuffix(s.Address(), ":0") {
		t.Errorf("address is %s, want the real port", s.Address())
	}
	if status, body := get(t, s, "/live"); status != 200 || body != "live\n" {
		t.Errorf("got %d %q", status, body)
	}
	if status, _ := get(t, s, "/debug/pprof/trace?seconds=0.01"); status != 200 {
		t.Errorf("a trace gets %d", status)
	}
	taken := New(Config{Address: s.Address()})
	if err := taken.Start(); err == nil || !strings.Contains(err.Error(), "another process has it: choose another admin.address") {
		t.Errorf("a taken address gives %v", err)
	}
	taken.Close() // without Start: nothing to close
}

func TestAddressesRefused(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:0":         "set allow_remote",
		":0":                "set allow_remote",
		"[::]:0":            "set allow_remote",
		"192.0.2.1:0":       "set allow_remote",
		"admin.internal:80": "set allow_remote",
		"9901":              "write host:port, unix:/path or off",
		"unix:":             "the path of the socket is missing",
	} {
		s := New(Config{Address: address})
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), want) {
			s.Close()
			t.Errorf("%s gives %v, want %q", address, err, want)
		}
	}
}

func TestRemote(t *testing.T) {
	s := New(Config{Address: "0.0.0.0:0", AllowRemote: true})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	s := startOn(t, unixPrefix+path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the socket has mode %o, want 600", mode)
	}
	if s.Address() != unixPrefix+path {
		t.Errorf("address is %s", s.Address())
	}
	if status, body := get(t, s, "/live"); status != 200 || body != "live\n" {
		t.Errorf("got %d %q", status, body)
	}
	if err := New(Config{Address: unixPrefix + path}).Start(); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a socket in use gives %v", err)
	}
	s.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSizeLimits(t *testing.T) {
	s := startOn(t, "127.0.0.1:0")
	post := func(body string, header string) int {
		req, err := http.NewRequest("POST", "http://"+s.Address()+"/reload", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Filler", header)
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := post(strings.Repeat("x", maxBody+1), ""); got != 413 {
		t.Errorf("a large body gets %d, want 413", got)
	}
	if got := post("{}", strings.Repeat("x", maxHeader+8<<10)); got != 431 {
		t.Errorf("a large header gets %d, want 431", got)
	}
	if got := post("{}", "x"); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
}

// TestPlacesAreGivenBack: more connections than there are places, one by one.
func TestPlacesAreGivenBack(t *testing.T) {
	s := startOn(t, "127.0.0.1:0")
	for range maxConnections + 20 {
		if status, _ := get(t, s, "/live"); status != 200 {
			t.Fatalf("got %d", status)
		}
	}
}

// TestCloseWhileFull: Close does not wait for a place.
func TestCloseWhileFull(t *testing.T) {
	s := startOn(t, "127.0.0.1:0")
	for range maxConnections + 1 {
		conn, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	s.Close()
}
