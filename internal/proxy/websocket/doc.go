// Package websocket lets WebSockets go in order when the proxy drains: a stage
// around the routes that follows the frames of every open socket (RFC 6455
// section 5.2), by their heads alone, and can therefore put a Close frame with
// status 1001 (going away) where a frame may begin.
//
// It changes nothing else: no frame is buffered, unmasked, checked or counted,
// and a socket that is idle costs its entry in a table and its state, no
// goroutine, timer or buffer.
package websocket
