// Package http2 is the HTTP/2 codec, both halves: [Server] turns the frames of a
// downstream connection into requests for a [stream.Service], [Client] carries
// requests to an upstream, many at once.
//
// The core that both share, from the bytes up:
//
//	source.go, socket_*.go   bytes in; nobody who waits holds memory
//	wire.go, frame.go        frames, read in place
//	failure.go               what a peer did wrong
//	hpack_*.go               header blocks
//	limits.go, grammar.go    the one size accountant; what a field may hold
//	settings.go, window.go   what the peer set; what it may send
//	inbox.go                 content that came
//	outbox.go                frames that leave, and the windows for them
//	abuse.go, pace.go        what a peer may cost
//
// The server, in the order of a request's life:
//
//	server.go, server_conn.go         a downstream connection and its loop
//	server_frames.go                  what each frame asks for
//	server_head.go, server_stream.go  a request and its stream
//	server_worker.go                  who runs it
//	server_body.go, server_context.go what is handed out with it
//	server_respond.go                 the response leaves
//	server_interim.go                 1xx and Expect
//	server_tunnel.go                  extended CONNECT, CONNECT
//	server_end.go                     GOAWAY, in two steps or in one
//
// # Decisions of the server
//
// What makes a request malformed (RFC 9113 section 8.1.1) resets its stream;
// what is well formed and refused (a limit, a target, an expectation) is
// answered.
//
// Everything that one read brought is handled before a worker is woken, so a
// small request is whole by then and has a length even if none was declared.
// The goroutine that reads never writes.
//
// A stream counts against MaxStreams until its last frame is queued; one that
// was reset until its handler has ended. So there are never more handlers than
// streams allowed, whatever a client resets.
//
// A client that goes on to send content behind the final response is told with
// RST_STREAM (NO_ERROR) that nobody wants it.
package http2
