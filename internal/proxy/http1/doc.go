// Package http1 is the HTTP/1.1 codec, both halves: [Server] turns the bytes
// of a downstream connection into requests for a [stream.Service] and its
// responses into bytes, [Client] does the reverse on one upstream connection.
//
// It reads each head once, strictly by RFC 9110 and RFC 9112: what two readers
// could understand differently is refused, never repaired. The fields that
// frame a message or belong to one connection only become typed facts while
// reading and are written anew on the way out, so no byte of framing passes
// from one side to the other.
package http1
