package egress

import (
	"net/netip"
	"testing"
)

func TestRefusal(t *testing.T) {
	const (
		public  = iota // always
		private        // with allow_private
		never
	)
	for _, c := range []struct {
		address string
		class   int
	}{
		{"8.8.8.8", public}, {"1.1.1.1", public}, {"172.15.255.255", public}, {"172.32.0.0", public},
		{"100.63.255.255", public}, {"100.128.0.0", public}, {"11.0.0.0", public}, {"9.255.255.255", public},
		{"128.0.0.0", public}, {"126.255.255.255", public}, {"192.167.255.255", public}, {"223.255.255.255", public},
		{"2606:4700::1111", public}, {"2a00::1", public}, {"2001:200::1", public},

		{"127.0.0.1", private}, {"127.255.255.254", private}, {"10.0.0.0", private}, {"10.255.255.255", private},
		{"172.16.0.1", private}, {"172.31.255.255", private}, {"192.168.0.1", private}, {"192.168.255.255", private},
		{"169.254.169.254", private}, {"169.254.0.1", private}, {"100.64.0.1", private}, {"100.100.100.200", private},
		{"100.127.255.255", private}, {"192.0.0.192", private}, {"192.0.2.1", private}, {"198.51.100.1", private},
		{"203.0.113.1", private}, {"198.18.0.1", private}, {"198.19.255.255", private},
		{"::1", private}, {"fe80::1", private}, {"fe80::1%eth0", private}, {"febf::1", private}, {"fec0::1", private},
		{"fc00::1", private}, {"fd00:ec2::254", private}, {"2001:db8::1", private}, {"3fff::1", private},
		{"64:ff9b:1::1", private}, {"5f00::1", private}, {"2a00::1%eth0", private},

		{"0.0.0.0", never}, {"0.1.2.3", never}, {"224.0.0.1", never}, {"239.255.255.255", never},
		{"240.0.0.1", never}, {"255.255.255.255", never}, {"192.88.99.1", never},
		{"::", never}, {"ff02::1", never}, {"ff0e::1", never}, {"100::1", never},

		// IPv4 in other clothes.
		{"::ffff:127.0.0.1", private}, {"::ffff:169.254.169.254", private}, {"::ffff:8.8.8.8", public}, {"::ffff:0.0.0.0", never},
		{"::127.0.0.1", private}, {"::8.8.8.8", public}, {"::ffff:0:127.0.0.1", private},
		{"64:ff9b::7f00:1", private}, {"64:ff9b::a9fe:a9fe", private}, {"64:ff9b::808:808", public}, {"64:ff9b::e000:1", never},
		{"2002:7f00:1::", private}, {"2002:a00:1::1", private}, {"2002:a9fe:a9fe::", private}, {"2002:808:808::1", public},
		{"2002:e000:1::", never},
		{"2001:0:808:808::f7f7:f7f7", private}, // Teredo: never without allow_private
		{"2001:0:808:808::1fff:fffe", never},   // client 224.0.0.1
		{"2001:0:e000:1::f7f7:f7f7", never},    // server 224.0.0.1
	} {
		a := netip.MustParseAddr(c.address)
		for _, allow := range []bool{false, true} {
			why := Refusal(a, allow)
			if ok := c.class == public || c.class == private && allow; ok != (why == "") {
				t.Errorf("%s, allow_private %v: %q", a, allow, why)
			}
		}
	}
	if Refusal(netip.Addr{}, true) == "" {
		t.Error("no address is allowed")
	}
}

// Every form that the standard library calls not global is refused.
func FuzzRefusal(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::1", "fe80::1", "2002:7f00:1::", "64:ff9b::a00:1", "8.8.8.8"} {
		a := netip.MustParseAddr(s).As16()
		f.Add(a[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 16 {
			return
		}
		a := netip.AddrFrom16([16]byte(b))
		u := a.Unmap()
		bad := !u.IsGlobalUnicast() || u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast()
		if bad && Refusal(a, false) == "" {
			t.Errorf("%s is allowed", a)
		}
		if Refusal(a, true) != "" && Refusal(a, false) == "" {
			t.Errorf("%s is refused only when private addresses are allowed", a)
		}
	})
}
