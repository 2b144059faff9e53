package http1

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"

	"github.com/weirproxy/weir/stream"
)

// In HTTP/1.1 a WebSocket begins with a nonce and its proof (RFC 6455 section
// 4), in HTTP/2 and HTTP/3 without (RFC 8441 section 5). Where one side has them
// and the other has not, they are made and checked here, and only here: the
// server half makes the proof that no upstream has made, the client half the
// nonce that no client has sent.

const websocket = "websocket"

// The refusals of RFC 6455 section 4.2.1, and of its answer.
var (
	errWebSocketMethod  = errors.New("an upgrade to websocket needs the method GET")
	errWebSocketKey     = errors.New("an upgrade to websocket needs one Sec-WebSocket-Key, 16 bytes in base64")
	errWebSocketVersion = errors.New("an upgrade to websocket needs Sec-WebSocket-Version: 13")
	errWebSocketAccept  = errors.New("Sec-WebSocket-Accept does not go with the key that was sent")
)

const websocketVersion = "13"

// keySize is that of 16 bytes in base64.
const keySize = 24

// checkWebSocket judges the upgrade of an HTTP/1.1 request.
func checkWebSocket(req *stream.Request) *stream.Fault {
	var cause error
	switch version, _ := req.Header.GetID(stream.SecWebSocketVersion); {
	case req.Method != "GET":
		cause = errWebSocketMethod
	case version != websocketVersion:
		cause = errWebSocketVersion
	case !validKey(&req.Header):
		cause = errWebSocketKey
	default:
		return nil
	}
	return &stream.Fault{Kind: stream.UpgradeRefused, Cause: cause}
}

func validKey(h *stream.Header) bool {
	keys := 0
	for _, f := range h.Fields() {
		if f.ID != stream.SecWebSocketKey {
			continue
		}
		var nonce [keySize]byte
		if keys++; len(f.Value) != keySize {
			return false
		}
		if n, err := base64.StdEncoding.Decode(nonce[:], []byte(f.Value)); err != nil || n != 16 {
			return false
		}
	}
	return keys == 1
}

// newKey is a nonce.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// acceptOf is the proof that a server has read the key.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// appendKey appends what the request of a WebSocket lacks that came over HTTP/2
// or HTTP/3, and returns the key; "" when it has its own.
func appendKey(dst []byte, req *stream.Request) (out []byte, key string) {
	if _, ok := req.Header.GetID(stream.SecWebSocketKey); ok {
		return dst, ""
	}
	key = newKey()
	dst = append(dst, "Sec-WebSocket-Key: "...)
	dst = append(dst, key...)
	if _, ok := req.Header.GetID(stream.SecWebSocketVersion); !ok {
		dst = append(dst, "\r\nSec-WebSocket-Version: "+websocketVersion...)
	}
	return append(dst, '\r', '\n'), key
}

// checkAccept judges the answer to a key that appendKey has made. Who sent the
// request does not know the key, so the proof goes no further.
func checkAccept(key string, h *stream.Header) error {
	if accept, _ := h.GetID(stream.SecWebSocketAccept); accept != acceptOf(key) {
		return errWebSocketAccept
	}
	h.DelID(stream.SecWebSocketAccept)
	return nil
}

// appendAccept appends the proof that the upstream, which was not asked for
// one, did not send.
func appendAccept(dst []byte, req *stream.Request, key string, h *stream.Header) []byte {
	if _, ok := h.GetID(stream.SecWebSocketAccept); ok || req.Upgrade != websocket {
		return dst
	}
	dst = append(dst, "Sec-WebSocket-Accept: "...)
	dst = append(dst, acceptOf(key)...)
	return append(dst, '\r', '\n')
}
