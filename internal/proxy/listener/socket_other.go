//go:build !linux

package listener

import "net"

// tcpConfig lets the net package set the keep-alive probes on every connection.
func tcpConfig() net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: probeIdle, Interval: probeInterval, Count: probeCount,
	}}
}
