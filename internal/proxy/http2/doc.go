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
package http2
