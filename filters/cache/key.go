package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/weirproxy/weir/filters/cache/rule"
	"github.com/weirproxy/weir/filters/cache/store"
	"github.com/weirproxy/weir/internal/requestkey"
	"github.com/weirproxy/weir/stream"
)

// keys makes the keys of requests. Every part is written with its length in
// front, so that no two requests that differ in a part that counts have one key,
// whatever they hold.
type keys struct {
	seed    []byte // the route, and the settings that say what a key means
	queries queries
	headers []string
	values  requestkey.Tuple
}

func newKeys(route string, s *Settings) (keys, error) {
	// What was stored by other rules is never found by these: another list of
	// parameters gives another meaning to the same text, and what was stored by
	// force goes with it.
	rules := *s
	rules.Size, rules.MaxObject, rules.Disk, rules.Limits, rules.Wait, rules.CacheStatus = 0, 0, Disk{}, Limits{}, 0, false
	rules.Store, rules.Slice = nil, 0
	text, err := json.Marshal(rules)
	if err != nil {
		return keys{}, fmt.Errorf("writing the settings into the keys: %w", err)
	}
	seed := sha256.Sum256(requestkey.Append(requestkey.Append(nil, route, true), string(text), true))
	values, err := requestkey.ParseTuple(s.Key.Values)
	if err != nil {
		return keys{}, err
	}
	return keys{seed: seed[:], queries: newQueries(&s.Key.Query), headers: s.Key.Headers, values: values}, nil
}

// keyRoom is the length of a key that is made without allocating.
const keyRoom = 1024

// of is the key of a request whose query has this canonical form.
func (k *keys) of(req *stream.Request, query string) store.Key {
	var room [keyRoom]byte
	return sha256.Sum256(k.appendTo(room[:0], req, query))
}

func (k *keys) appendTo(dst []byte, req *stream.Request, query string) []byte {
	dst = append(dst, k.seed...)
	t := &req.Target
	dst = requestkey.Append(dst, t.Scheme, true)
	dst = requestkey.Append(dst, t.Host, true)
	dst = requestkey.Append(dst, t.Port, t.Port != "")
	dst = requestkey.Append(dst, t.Path, true)
	dst = requestkey.Append(dst, query, query != "")
	for _, name := range k.headers {
		value, ok := requestkey.Header(&req.Header, name)
		dst = requestkey.Append(dst, value, ok)
	}
	dst = k.values.AppendParts(dst, req)
	return appendVouched(dst, &req.Header)
}

// appendVouched appends the fields by which a proxy in front tells the upstream
// what was asked for (X-Forwarded-Host, X-Original-Url, X-Remote-User): the
// response depends on them, whether or not it says so. They are there only when
// a trusted peer vouches for them, or when Weir made them of what is in the key
// already. The fields that say where the client is are left out: a response
// that depends on them has to say so, or nothing could be shared.
func appendVouched(dst []byte, h *stream.Header) []byte {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case stream.XForwardedHost, stream.XForwardedProto, stream.XForwardedPort:
		case stream.Unknown:
			if stream.Owner(f) == stream.NotOwned || saysWhere(f.Name) {
				continue
			}
		default:
			continue
		}
		dst = requestkey.Append(dst, f.Name, true)
		dst = requestkey.Append(dst, f.Value, true)
	}
	return dst
}

var wherefrom = [...]string{
	"x-client-ip", "x-cluster-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip",
	"x-azure-clientip", "x-appengine-user-ip", "x-originating-ip", "x-proxyuser-ip", "proxy-client-ip",
	"wl-proxy-client-ip", "x-original-forwarded-for", "x-remote-ip", "x-remote-addr", "remote-addr", "x-envoy-external-address",
}

// saysWhere: the name is that of an address of the client.
func saysWhere(name string) bool {
	for _, known := range wherefrom {
		if stream.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// sliceOf is the key of a slice of what lies under a primary key.
func sliceOf(primary store.Key, part rule.Part) store.Key {
	text := append(make([]byte, 0, 64), primary[:]...)
	text = append(text, "slice"...)
	text = binary.BigEndian.AppendUint64(text, uint64(part.Start)) //nolint:gosec // not negative
	text = binary.BigEndian.AppendUint64(text, uint64(part.End))   //nolint:gosec // not negative
	return sha256.Sum256(text)
}

// variant is the key of a request among those of one primary key: by the fields
// that responses named in Vary (RFC 9111 section 4.1). Accept-Encoding counts
// by what it means.
func variant(primary store.Key, names []string, h *stream.Header) store.Key {
	var room [keyRoom]byte
	dst := append(room[:0], primary[:]...)
	for _, name := range names {
		dst = requestkey.Append(dst, name, true)
		value, ok := requestkey.Header(h, name)
		if name == "accept-encoding" {
			var form [64]byte
			value, ok = string(rule.AppendCodings(form[:0], value)), true
		}
		dst = requestkey.Append(dst, value, ok)
	}
	return sha256.Sum256(dst)
}

// urlOf is how purges name what a request asks for: without the scheme, and
// without a port that goes without saying.
func urlOf(t *stream.Target, query string) string {
	port := t.Port
	if t.Scheme == "http" && port == "80" || t.Scheme == "https" && port == "443" {
		port = ""
	}
	url := t.Host
	if port != "" {
		url += ":" + port
	}
	if query == "" {
		return url + t.Path
	}
	return url + t.Path + "?" + query
}
