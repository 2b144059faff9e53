// Package listener is the first stage of the path of a request: it opens the
// address, accepts connections within limits and gives each one a goroutine
// with a recover boundary.
//
// A connection over a limit is accepted and closed at once, and counted. The
// other choice, to stop accepting, would let one client that holds its limit
// keep everyone else waiting in the backlog, without a sign of it anywhere.
//
// A Listener outlives generations: a reload swaps the handler and the limits,
// and keeps the socket.
package listener
