// Package http3 is the HTTP/3 codec, both halves, as a layer of its own on the
// raw connections of quic-go: [Server] turns the streams of downstream
// connections into requests for a [stream.Service], [Client] does the reverse
// on one upstream connection, and a [Dialer] owns the socket of many of them.
//
// Heads are read strictly by RFC 9110 and RFC 9114: what two readers could
// understand differently is refused, never repaired. QPACK is spoken with the
// static table only, so a section never waits for another stream.
//
//	static.go, huffman.go, qpack.go, encode.go  field sections
//	limits.go, score.go, pace.go                what bounds a peer
//	head.go, request.go, response.go            heads and what they mean
//	incoming.go, control.go                     frames of both kinds of streams
//	server.go, admission.go, server_conn.go     downstream connections
//	server_stream.go, server_body.go,
//	server_write.go, server_tunnel.go           one request
//	dialer.go, client.go, client_conn.go        upstream connections
//	exchange.go, client_body.go, upload.go      one attempt
//	altsvc.go                                   how clients learn of it
//
// # Decisions
//
// Flow control windows do not grow: a stream holds at most StreamWindow bytes
// that nobody has read. The credit for another stream is given back when the
// exchange is over and not when the client gives the stream up, so that there
// are never more handlers than MaxStreams, however fast a client resets.
//
// Early data is read as requests only while the handshake is under way and only
// for safe methods; any other request waits for the end of the handshake.
//
// A response that switches protocols (101) is 200 to an extended CONNECT; any
// other success would begin a tunnel that nobody made and is refused.
package http3
