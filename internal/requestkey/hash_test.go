package requestkey

import (
	"net/netip"
	"testing"

	"github.com/weirproxy/weir/stream"
)

func TestHash(t *testing.T) {
	key := func(text string) Key {
		k, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	request := func(client, user string) *stream.Request {
		req := &stream.Request{Client: netip.MustParseAddr(client)}
		req.Header.Add("X-User", user)
		return req
	}
	client, user := key("client"), key("header:x-user")
	a, _ := client.Hash(request("10.0.0.1", "anna"))
	mapped, _ := client.Hash(request("::ffff:10.0.0.1", "bob"))
	b, _ := client.Hash(request("10.0.0.2", "anna"))
	if a == 0 || a != mapped || a == b {
		t.Errorf("clients: %x, mapped %x, another %x", a, mapped, b)
	}
	anna, _ := user.Hash(request("10.0.0.1", "anna"))
	again, _ := user.Hash(request("10.0.0.2", "anna"))
	bob, _ := user.Hash(request("10.0.0.1", "bob"))
	// The value is the same in every process and version: proxies agree.
	if want := uint64(0x8ed227c0ee63f504); anna != again || anna == bob || anna != want {
		t.Errorf("users: %#x, again %#x, another %#x; want %#x", anna, again, bob, want)
	}
	if h, ok := user.Hash(&stream.Request{}); ok || h != 0 {
		t.Error("a key of nothing")
	}
	if h, ok := client.Hash(&stream.Request{}); ok || h != 0 {
		t.Error("a key of no client")
	}
	if h, ok := user.Hash(request("10.0.0.1", "")); !ok || h == 0 {
		t.Error("an empty value is a value")
	}
	req := request("2001:db8:1:2:3:4:5:6", "anna")
	if n := testing.AllocsPerRun(1000, func() { client.Hash(req); user.Hash(req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
