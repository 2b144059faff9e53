// Package tcp carries connections without looking into them: the server half
// makes a request of a downstream connection and relays it with the tunnel that
// answers it, the client half answers requests with a connection to an endpoint
// or to the target of a CONNECT.
//
// Each direction of a relay is a lane with a goroutine of its own. Between two
// plain sockets on Linux a busy lane moves bytes without copying them (splice).
// A quiet lane holds neither a pipe nor a page. A stream that ended by itself
// ends in order (FIN, close_notify); one that we or a fault cut is reset, so
// that nobody takes a part for the whole.
//
// What it never does: choose an endpoint, try twice, or read a byte to know what
// it means.
package tcp
