// Package framed is the codec of protocols that are frames and nothing else,
// lines or lengths followed by content: [Server] makes a request of each frame
// and a frame of its response, [Client] does the reverse. So a service behind a
// line protocol is an HTTP service to its clients, and the other way round.
//
// A frame is whole or it is nothing: content is read completely, within
// Framing.Max, before any of it goes on. What a frame cannot hold (a delimiter
// inside a line, more bytes than its number counts) is refused: it would be two
// frames to the one who reads it.
//
//	framing.go                   where a frame ends
//	input.go, content.go         bytes in
//	server.go, server_conn.go    a downstream connection: frames to requests
//	server_answer.go             responses to frames
//	client.go, client_send.go    an upstream connection: requests to frames
package framed
