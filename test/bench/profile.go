//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// startProfile has a CPU profile of the weir that runs in dir written while it is
// measured, for the compiler (make profile). The error, or nil, comes when that is
// done; at once when no profile is wanted.
func startProfile(o options, c benchCase, p proxy, dir string) <-chan error {
	done := make(chan error, 1)
	if o.profiles == "" || p.name != "weir" {
		done <- nil
		return done
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(c.name))
	go func() {
		time.Sleep(o.warm)
		done <- fetchProfile(filepath.Join(dir, "admin.sock"), filepath.Join(o.profiles, name+".pb.gz"), o.time)
	}()
	return done
}

// fetchProfile asks the admin pages at socket for a profile of that duration, in
// whole seconds.
func fetchProfile(socket, file string, d time.Duration) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(fmt.Sprintf("http://localhost/debug/pprof/profile?seconds=%d", max(int(d.Seconds()), 1)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile of %s: status %d", socket, resp.StatusCode)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fmt.Errorf("profile of %s: %w", socket, err)
	}
	return out.Close()
}
