//go:build !linux

package listener

import (
	"net"
	"syscall"
)

// tcpConfig lets the net package set the keep-alive probes on every connection.
func tcpConfig() net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount,
	}}
}

// restrictUnix has no way to set the mode before the bind here.
func restrictUnix(string, string, syscall.RawConn) error { return nil }
