package listener

import (
	"net"
	"strings"
	"testing"
)

func TestOpenPacket(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		pc, err := OpenPacket(Config{Name: "dns", Network: "udp", Address: address})
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		nc, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", portOf(pc.LocalAddr())))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write([]byte("hello"))
		buf := make([]byte, 10)
		n, from, err := pc.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "hello" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		pc.WriteToUDPAddrPort([]byte("world"), from)
		if n, err := nc.Read(buf); err != nil || string(buf[:n]) != "world" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		taken := net.JoinHostPort("127.0.0.1", portOf(pc.LocalAddr()))
		if strings.HasPrefix(address, ":") {
			taken = ":" + portOf(pc.LocalAddr())
		}
		for network, c := range map[string]struct{ address, want string }{
			"udp":  {taken, "listener again: cannot listen on " + taken + ": another process, or another listener, has that address"},
			"unix": {"/tmp/x", "/tmp/x is the path of a socket; UDP needs host:port"},
		} {
			if _, err := OpenPacket(Config{Name: "again", Network: network, Address: c.address}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", network, err, c.want)
			}
		}
	}
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}
