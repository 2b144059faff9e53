// Package http1 is the HTTP/1.1 codec, both halves: [Server] turns the bytes
// of a downstream connection into requests for a [stream.Service] and its
// responses into bytes, [Client] does the reverse on one upstream connection.
//
// It reads each head once, strictly by RFC 9110 and RFC 9112: what two readers
// could understand differently is refused, never repaired. The fields that
// frame a message or belong to one connection only become typed facts while
// reading and are written anew on the way out, so no byte of framing passes
// from one side to the other, and what is written is checked once more.
//
// In the order of a request's life:
//
//	server.go, server_conn.go   a downstream connection and its loop
//	source.go, socket*.go       bytes in; nobody who waits holds memory
//	head.go, grammar.go         lines and fields, for both halves
//	limits.go                   the one size accountant
//	request.go, framing.go      a request head and what its fields mean
//	server_body.go              the request body: content.go, chunked.go
//	client.go, client_write.go  a request leaves
//	turnaround.go, upload.go    written and answered without a hand-over
//	response.go, client_body.go the response comes
//	server_write.go, wire.go    and leaves
//	interim.go                  1xx and Expect
//	tunnel.go, switched.go      101 and CONNECT: both ends of a tunnel
//	quiet.go                    waiting over TLS without a page
//	websocket.go                keys and proofs where the other side has none
//	preface.go                  a connection that is one of HTTP/2
//	closing.go                  lingering, resets, clients that have gone
//
// # Decisions
//
// Expect: 100-continue ends in the server half; see interim.go.
//
// A client that closes its sending side while it waits counts as gone, as at
// nginx; so does one that resets.
//
// A request that asks to switch protocols and is answered otherwise is the
// last one on its connection: bytes that the client may have sent for the new
// protocol are never read as a request.
//
// CONNECT is an upgrade with other words: no content, a tunnel behind any 2xx,
// no further request on either connection whatever the answer is. A 2xx that no
// tunnel stands behind never leaves.
//
// How long a tunnel may be quiet, and last, is said by the route or else by the
// listener (stream.Request.Tunnel); the downstream half judges.
//
// An upstream connection is used again only after a request that left in full
// and a response that was read in full, with nothing behind it, and after
// neither said close, no verdict of the watchdog and no switch of protocols.
//
// The deadline of an attempt holds until the head of the response is there. A
// request body that streams is judged by its progress; the time that the
// attempt had left then counts from the end of the body.
//
// Responses may lack the space before an absent reason. Nothing else that the
// grammar forbids is read, in either direction.
package http1
