// Package udp carries UDP: [Server] makes sessions of the datagrams that
// arrive at a socket, [Transport] is the upstream end of a session.
//
// A session is what goes on between one client address and one of ours until
// nothing has moved for a while. It is a stream.Request of stream.UDP whose
// response is a Duplex: each Read and each Write of it is one datagram.
//
//	server.go    the one reader of the socket, drain
//	socket.go    the socket, and which of our addresses a client writes to
//	table.go     the sessions by client, and their limits
//	session.go   the life of a session
//	client.go    an attempt at an endpoint
//	flow.go      the socket of a session towards its endpoint
//
// # Decisions
//
// The Body of the request is the first datagram. An attempt sends it and waits
// a moment for the first sign of life; when the endpoint says instead that
// nobody listens there (ICMP), the attempt has failed with nothing lost: it
// counts against the endpoint, and another endpoint gets the same datagram.
// Later datagrams wait in the session meanwhile.
//
// Nothing here waits for room to send: a datagram for which there is none is
// dropped and counted, as a network would.
//
// A session that got no upstream stays for a second and takes the datagrams of its
// client, so that a flood of them is not a flood of attempts.
//
// A session that waits holds a goroutine and a socket, and no buffer.
package udp
